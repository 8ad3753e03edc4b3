"""What clients say: CONNECT in all its forms, publications, subscriptions; and how connections end."""

from __future__ import annotations

from harness import properties
from sim.line import Answer, Item, Line
from sim.model import Connection, Granted, Session, Will
from sim.oracle import split_share
from sim.peer import Peer
from sim.world import TOPICS, World

from swellmq.broker.access import ACQUIRE, AUTHENTICATE, BARRIER, PUBLISH, READ_BACK, SUBSCRIBE
from swellmq.codec import packets as mqtt
from swellmq.codec.encode import encode
from swellmq.codec.spec import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, SESSION_EXPIRY_NEVER
from swellmq.errors import PEER_CLOSED

FILTERS = [*TOPICS, "#", "t/#", "t/+/0", "+/a/+", "t/+", "+/+/1", "t//+", "/#", "$x/#", "+", "long/#", "w/#"]
SHARED = ["$share/h/long/#", "$share/g/w/#"]  # beside the one that a client has of its own


class Talk(World):
    """A world in which clients talk."""

    # Packets

    def _publish(self, peer: Peer) -> Item | None:
        random = self.random
        qos = random.choice((0, 1, 1, 2, 2))
        if qos and not peer.may_publish():
            return None
        self.payloads += 1
        topic = peer.favourite if random.random() < 0.5 else random.choice(TOPICS)
        retain = random.random() < 0.2
        payload = b"%d from %b" % (self.payloads, peer.client_id.encode())
        if random.random() < 0.1:
            payload += b"." * random.choice((10, 200, 3_000))
        if retain and random.random() < 0.3:
            payload = b""
        publish = mqtt.Publish(topic.encode(), payload, qos, retain)
        if peer.version == MQTT_5_0 and random.random() < 0.2:
            publish.message_expiry_interval = random.choice((1, 5, 60, 3_600))
        if qos:
            publish.packet_identifier = peer.next_identifier()
            peer.unfinished[int(publish.packet_identifier)] = publish
        return self._published(peer, publish)

    def _published(self, peer: Peer, publish: mqtt.Publish) -> Item:
        topic = publish.topic_name.decode()
        interval_s = int(publish.message_expiry_interval) if peer.version == MQTT_5_0 else -1
        identifier = int(publish.packet_identifier)
        message = topic, publish.payload, int(publish.qos), publish.retain, identifier, interval_s
        model, oracle = peer.model, self.oracle
        assert model is not None

        def tell(answer: Answer, waited_ms: int) -> None:
            oracle.publish(model, *message, answer[0], waited_ms)

        def asks() -> bool:  # not about a repetition
            return not (message[2] == 2 and identifier in model.session.received)

        sent = publish
        if peer.connected and peer.topic_alias_maximum and self.random.random() < 0.3:
            known = topic in peer.aliases
            alias = peer.aliases.get(topic, len(peer.aliases) + 1)
            if alias <= peer.topic_alias_maximum:
                peer.aliases[topic] = alias
                sent = mqtt.Publish(b"" if known else publish.topic_name, publish.payload, publish.qos, publish.retain)
                sent.dup, sent.packet_identifier = publish.dup, publish.packet_identifier
                sent.message_expiry_interval = publish.message_expiry_interval
                sent.topic_alias = alias
        return Item(encode(sent, peer.version), tell, self.questions.asks(PUBLISH), asks)

    def _subscribe(self, peer: Peer) -> list[Item]:
        random = self.random
        requests: list[mqtt.TopicRequest] = []
        for _ in range(random.choice((1, 1, 1, 3))):
            five = peer.version == MQTT_5_0
            topic_filter = random.choice([*SHARED, peer.shared, peer.shared] if random.random() < 0.25 else FILTERS)
            request = mqtt.TopicRequest(topic_filter.encode(), random.randrange(3))
            if five:
                # Not where it is shared: then a replayed message could not be told from one of the group.
                shared = bool(split_share(topic_filter)[0])
                request.no_local = not shared and random.random() < 0.2
                request.retain_as_published = not shared and random.random() < 0.3
                request.retain_handling = random.choice((0, 0, 1, 2))
            requests.append(request)
        identifier = random.randrange(1, 300) if peer.version == MQTT_5_0 and random.random() < 0.4 else 0
        return self._subscribed(peer, requests, identifier)

    def _subscribed(self, peer: Peer, requests: list[mqtt.TopicRequest], identifier: int = 0) -> list[Item]:
        """A SUBSCRIBE: access may be asked about it, and the cluster before it is acknowledged."""
        model, oracle, kind = peer.model, self.oracle, self.questions.asks(SUBSCRIBE)
        assert model is not None
        props = properties(subscription_identifiers=[identifier]) if identifier else None
        packet = mqtt.Subscribe(peer.next_identifier(), requests, props)
        granted: list[Granted] = []

        def tell(answer: Answer, _: int) -> None:
            verdicts = answer if kind else [0] * len(requests)
            granted.append(oracle.subscribe(model, requests, identifier, verdicts))

        def acknowledge(_: Answer, __: int) -> None:
            oracle.acknowledge_subscribe(model, int(packet.packet_identifier), granted.pop())

        data = encode(packet, peer.version)
        return [Item(data, tell, kind), Item(b"", acknowledge, self.questions.asks(BARRIER))]

    def _unsubscribe(self, peer: Peer) -> Item:
        assert peer.model is not None
        known = list(peer.model.session.subscriptions) or ["t/none"]
        packet = mqtt.Unsubscribe(peer.next_identifier(), [self.random.choice(known).encode()])
        return self._item(peer, packet, self.oracle.unsubscribe, int(packet.packet_identifier), packet.topic_filters)

    def _something(self, peer: Peer) -> list[Item]:
        """A few packets of a client that is connected."""
        random = self.random
        items: list[Item] = []
        for _ in range(random.choice((1, 1, 2, 6))):
            what = random.random()
            if what < 0.6:
                item = self._publish(peer)
                if item is not None:
                    items.append(item)
            elif what < 0.75:
                items.extend(self._subscribe(peer))
            elif what < 0.8:
                items.append(self._unsubscribe(peer))
            elif peer.todo:
                items.extend(self._acks(peer, random.randint(1, len(peer.todo))))
        return items

    # Connections

    def _open_monitor(self) -> None:
        """A client that gets everything, at once, and never leaves."""
        self._connect(self.monitor, clean=True, plain=True)
        requests = [mqtt.TopicRequest(b"#", 2, retain_as_published=True), mqtt.TopicRequest(b"$x/#", 2)]
        self._commit()
        self._send(self.monitor, self._subscribed(self.monitor, requests))
        self.turn(True)

    def _connect(self, peer: Peer, clean: bool | None = None, plain: bool = False) -> None:
        """A CONNECT, perhaps with packets right behind it, perhaps while the client is still connected."""
        random = self.random
        version = peer.version
        if not plain and random.random() < 0.05:
            version = random.choice((MQTT_3_1, MQTT_3_1_1, MQTT_5_0))
        connect = mqtt.Connect()
        connect.protocol_version = version
        connect.client_id = peer.client_id
        connect.clean_start = random.random() < 0.3 or peer.forgot if clean is None else clean
        will: Will | None = None
        expiry_s = 0
        options: dict[str, int] = {}
        props = mqtt.Properties()
        if version == MQTT_5_0:
            expiry_s = random.choice((0, 1, 60, 3_600, 86_400, SESSION_EXPIRY_NEVER))
            if plain:
                expiry_s = 0 if connect.clean_start else SESSION_EXPIRY_NEVER
            props.session_expiry_interval = expiry_s
        if not plain:
            connect.keep_alive = random.choice((0, 0, 10, 60, 600))
            options["keep_alive_s"] = int(connect.keep_alive)
            if version == MQTT_5_0:
                for name, values in (
                    ("receive_maximum", (1, 2, 10, 0)),
                    ("topic_alias_maximum", (0, 1, 5)),
                    ("packet_bytes_max", (0, 0, 0, 200, 1_000)),
                ):
                    value = random.choice(values)
                    if value:
                        options[name] = value
                        setattr(props, "maximum_packet_size" if name == "packet_bytes_max" else name, value)
            if random.random() < 0.4:
                will = self._will(peer, version)
                publish = mqtt.Publish(will.topic.encode(), will.payload, will.qos, will.retain)
                if version == MQTT_5_0:
                    publish.message_expiry_interval = will.interval_s
                connect.will = mqtt.Will(publish, will.delay_s)
        if version == MQTT_5_0:
            connect.properties = props
        wire = self.broker.open(version)
        name = f"connection {wire.connection.fd}"
        model = Connection(name, Session(peer.client_id), version, **options)
        model.last_ms = self.oracle.now_ms
        wire.line = Line(model)
        self.wires.append((wire, model))
        self.note(f"{name}: CONNECT of {peer.client_id}, level {version}, clean {connect.clean_start}, "
                  f"expiry {expiry_s}, {will}, {options}")  # fmt: skip

        data = encode(connect, version)
        wire.line.send(self._connecting(model, data, connect.clean_start, expiry_s, will), len(data))
        if not plain and random.random() < 0.1:  # in pieces
            cut = random.randrange(1, len(data))
            wire.feed(data[:cut])
            self.turn()
            data = data[cut:]
            if random.random() < 0.3:
                wire.connection.close(PEER_CLOSED)
                self.oracle.leave(model, "closed by peer")
                self.turn()
                return
        other = None if plain else random.choice(self.peers)
        if other is not None and other.connected and not other.silent and random.random() < 0.4:
            self._send(other, self._something(other))  # it may be for the client that comes in this very turn
        wire.feed(data)
        if peer.wire is not None and not peer.wire.closed and peer.model is not None:
            self.note(f"{name} takes over from {peer.model.name}")
            if peer.todo:  # an acknowledgement on the old connection, most often too late to count
                self._send(peer, self._acks(peer, 1))
        peer.attach(wire, model, version)
        peer.next_ping_ms = -1
        if model.keep_alive_s:
            peer.next_ping_ms = self.oracle.now_ms + model.keep_alive_s * 800
        if connect.clean_start and version == MQTT_5_0 and not plain and random.random() < 0.2:
            peer.forget()
            peer.early = peer.forgot = True
            self._send(peer, self._something(peer))  # it need not wait for the CONNACK
        self.turn(True if plain else None)
        self._await_connack(peer)

    def _connecting(self, model: Connection, data: bytes, clean: bool, expiry_s: int, will: Will | None) -> list[Item]:
        """A CONNECT: access may be asked who it is, then the cluster for its client id; then what is on disk only is
        read back."""
        oracle = self.oracle
        model.arrived_ms = oracle.now_ms

        def let_in(answer: Answer, _: int) -> None:
            if answer[0]:
                oracle.refuse(model, answer[0])

        def acquired(_: Answer, __: int) -> None:
            """Its client id is ours."""

        def reads_back() -> bool:
            return not (clean or oracle.refuses(model, clean, expiry_s)) and self.on_shelf(model.session.client_id)

        def admit(answer: Answer, _: int) -> None:
            if answer[0]:
                oracle.refuse(model, answer[0])
            else:
                oracle.connect(model, clean, expiry_s, will)

        asks = self.questions.asks
        return [
            Item(data, let_in, asks(AUTHENTICATE)),
            Item(b"", acquired, asks(ACQUIRE)),
            Item(b"", admit, READ_BACK, reads_back),
        ]

    def _will(self, peer: Peer, version: int) -> Will:
        random = self.random
        five = version == MQTT_5_0
        self.payloads += 1
        return Will(
            f"w/{peer.client_id}",
            b"will %d of %b" % (self.payloads, peer.client_id.encode()),
            random.randrange(3),
            random.random() < 0.3,
            random.choice((0, 1, 30, 600)) if five else 0,
            random.choice((-1, -1, 60)) if five else -1,
        )

    def _await_connack(self, peer: Peer) -> None:
        """Read what has arrived; once CONNACK is there, send again what a resumed session asks for."""
        if peer.wire is None or peer.connected:
            return
        peer.receive()
        if not peer.connected:
            return
        items: list[Item] = []
        for packet in peer.repeat():
            if isinstance(packet, mqtt.Publish):
                items.append(self._published(peer, packet))
            else:
                assert isinstance(packet, mqtt.Ack)
                told = packet.packet_type, packet.packet_identifier, 0
                items.append(self._item(peer, packet, self.oracle.acknowledge, *told))
        if items:
            self._send(peer, items)
            self.turn()

    def _drop(self, peer: Peer, received: float) -> None:
        """The network is gone; only a part of what was under way to the client has arrived."""
        self._break(peer, received)
        self.turn()

    def _break(self, peer: Peer, received: float) -> None:
        wire, model = peer.wire, peer.model
        assert wire is not None and model is not None
        if model.open:
            peer.receive(int(len(wire.taken) * received))
            self.note(f"{model.name} is cut off")
            wire.connection.close(PEER_CLOSED)
            self.oracle.leave(model, "closed by peer")
        peer.lose()
