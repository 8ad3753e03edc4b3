"""Messages: retained ones (browse, read, delete), and publishing one."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Annotated, Final

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.api.overview import moment
from swellmq.admin.route import Route, Walk
from swellmq.admin.walk import PageQuery, all_keys, smallest
from swellmq.broker.publish import retained_full
from swellmq.broker.retained import RetainedNode
from swellmq.broker.topics import closed_to_clients
from swellmq.codec.packets import ABSENT, Properties, Publish
from swellmq.codec.properties import decode_properties, encode_properties_body
from swellmq.codec.spec import PUBLISH
from swellmq.codec.topic import check_response_topic, check_topic_name
from swellmq.errors import PeerError
from swellmq.server import Server

PAYLOAD_SHOWN_BYTES: Final = 262_144
STORED_LOOK_MS: Final = 2  # how often it is looked whether a message is stored


class RetainedItem(msgspec.Struct):
    """A retained message without its payload, whose length is `payload_bytes`; `client_id` has published it, and is
    null where it came from the broker itself."""

    topic: str
    qos: int
    payload_bytes: int
    client_id: str | None
    expires_at: datetime | None


class RetainedPage(msgspec.Struct):
    """Retained messages by topic, level by level."""

    items: list[RetainedItem]
    next: str | None


class RetainedQuery(PageQuery, forbid_unknown_fields=True):
    """Which retained messages are listed."""

    prefix: Annotated[str, msgspec.Meta(description="What their topics begin with.")] = ""


class MessageProperties(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The properties of MQTT 5.0 that travel with a message."""

    payload_format_indicator: Annotated[int, msgspec.Meta(ge=0, le=1)] | None = None
    message_expiry_interval: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: list[tuple[str, str]] | None = None


class RetainedMessage(RetainedItem):
    """A retained message. `payload` is null where it is not UTF-8; `payload_base64` has it then, up to 256 KiB."""

    payload: str | None
    payload_base64: bytes | None
    truncated: bool
    properties: MessageProperties


class PublishBody(msgspec.Struct, forbid_unknown_fields=True):
    """A message to publish. Its payload is `payload` as UTF-8, or `payload_base64`."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=65_535)]
    payload: str | None = None
    payload_base64: bytes | None = None
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    retain: bool = False
    properties: MessageProperties | None = None


class Published(msgspec.Struct):
    """How many subscriptions a message matched; a shared group counts as one."""

    matched: int


def retained(server: Server, query: RetainedQuery) -> Generator[None, None, RetainedPage]:
    """Retained messages, without their payloads."""
    after = query.after.split("/") if query.after is not None else None
    low = [level.encode() for level in after] if after is not None else None
    found = yield from _in_order(server.broker.core.retained.root, query.prefix.encode(), low, query.limit + 1)
    items = [make_item(publish) for publish in found[: query.limit]]
    return RetainedPage(items, items[-1].topic if len(found) > query.limit else None)


def _in_order(
    root: RetainedNode, prefix: bytes, low: list[bytes] | None, limit: int
) -> Generator[None, None, list[Publish]]:
    """The first `limit` retained messages behind the topic with the levels `low` (None: of all), level by level."""
    *above, start = prefix.split(b"/")
    node: RetainedNode | None = root
    for level in above:
        node = node.children.get(level) if node is not None and node.children is not None else None
        if low is not None and low and low[0] == level:
            low = low[1:]
    found: list[Publish] = []
    # Nodes that are still to be looked at, the next one last: each with what of `low` holds below it, if anything.
    stack = [(node, low, start)] if node is not None else []
    is_first = True
    while stack and len(found) < limit:
        node, low, start = stack.pop()
        if node.publish is not None and low is None and not is_first:
            found.append(node.publish)
        is_first = False
        if node.children is None:
            continue
        children = node.children
        lowest = low[0] if low else None
        names, _ = yield from smallest(all_keys(children), lowest, limit - len(found), _begins_with(start))
        following: list[tuple[RetainedNode, list[bytes] | None, bytes]] = []
        if low:  # what `low` leads to comes first
            child = children.get(low[0])
            if child is not None and low[0].startswith(start):
                following.append((child, low[1:], b""))
        for name in names:
            child = children.get(name)
            if child is not None:
                following.append((child, None, b""))
        following.reverse()
        stack.extend(following)
    return found


def _begins_with(start: bytes) -> Callable[[bytes], bool] | None:
    return (lambda name: name.startswith(start)) if start else None


def retained_message(server: Server, topic: str) -> RetainedMessage:
    """One retained message with its payload."""
    publish = _find(server, topic)
    shown = publish.payload[:PAYLOAD_SHOWN_BYTES]
    truncated = len(shown) < len(publish.payload)
    text: str | None = None
    try:
        text, _ = utf_8_decode(shown, "strict", not truncated)  # a character that the cut goes through is left out
    except UnicodeDecodeError:
        pass
    item = make_item(publish)
    return RetainedMessage(
        topic=item.topic,
        qos=item.qos,
        payload_bytes=item.payload_bytes,
        client_id=item.client_id,
        expires_at=item.expires_at,
        payload=text,
        payload_base64=shown if text is None else None,
        truncated=truncated,
        properties=_read_properties(publish),
    )


def delete_retained(server: Server, topic: str) -> Walk[None]:
    """Delete a retained message, as a client does: subscribers of its topic get an empty message."""
    publish = _find(server, topic)
    yield from _inject(server, Publish(publish.topic_name, b"", 0, True))


def publish(server: Server, body: PublishBody) -> Walk[Published]:
    """Publish a message; answered once what must be durable is stored."""
    core = server.broker.core
    limits = core.limits
    if body.payload is not None and body.payload_base64 is not None:
        raise ApiError(422, "bad_body", "`payload` and `payload_base64` are both given")
    payload = body.payload_base64 if body.payload_base64 is not None else (body.payload or "").encode()
    topic_name = body.topic.encode()
    message = Publish(topic_name, payload, body.qos, body.retain)
    try:
        check_topic_name(topic_name)
        if body.properties is not None:
            _set_properties(message, body.properties, server.turn_state.wall_ms)
    except PeerError as error:
        raise ApiError(422, "bad_message", error.phrase) from None
    except ValueError as error:
        raise ApiError(422, "bad_message", str(error)) from None
    if closed_to_clients(topic_name):
        raise ApiError(422, "bad_message", "this topic is the broker's own")
    if topic_name.count(b"/") >= limits.topic_levels or len(topic_name) > limits.topic_bytes:
        raise ApiError(422, "bad_message", "the topic has more levels or bytes than limits allow")
    if len(payload) > limits.payload_bytes:
        raise ApiError(422, "bad_message", "the payload is above limits.payload_bytes")
    if body.qos > limits.maximum_qos:
        raise ApiError(422, "bad_message", f"limits.maximum_qos is {limits.maximum_qos}")
    if body.retain and not limits.retain_available:
        raise ApiError(422, "bad_message", "limits.retain_available says that retained messages are not supported")
    if body.retain and retained_full(core, message):
        raise ApiError(507, "retained_full", "limits leave no room for another retained message")
    return Published((yield from _inject(server, message)))


def _inject(server: Server, message: Publish) -> Walk[int]:
    """Route a message, and wait until what it has changed durably is stored; how many subscriptions it matched."""
    core = server.broker.core
    turn = server.turn_state
    if core.storage.refusal:
        raise ApiError(503, "store_failing", "the store can't write at the moment")
    changes = core.changes
    matched = server.broker.inject(message)
    server.loop.more = True
    if core.changes != changes and turn.durable:
        ticket = turn.ticket_open
        while turn.ticket_stored < ticket:
            yield STORED_LOOK_MS
    return matched


def _find(server: Server, topic: str) -> Publish:
    publish = server.broker.core.retained.get(topic.encode())
    if publish is None:
        raise ApiError(404, "no_retained_message", "this topic has no retained message")
    return publish


def make_item(publish: Publish) -> RetainedItem:
    """What is told of a retained message in a list."""
    return RetainedItem(
        topic=publish.topic_name.decode(),
        qos=int(publish.qos),
        payload_bytes=len(publish.payload),
        client_id=publish.client_id or None,
        expires_at=moment(int(publish.expires_at_ms)) if publish.expires_at_ms else None,
    )


def _read_properties(publish: Publish) -> MessageProperties:
    found = decode_properties(publish.properties, 0, len(publish.properties), PUBLISH)
    indicator = int(found.payload_format_indicator)
    response_topic = found.response_topic
    return MessageProperties(
        payload_format_indicator=None if indicator == ABSENT else indicator,
        message_expiry_interval=None
        if publish.message_expiry_interval == ABSENT
        else int(publish.message_expiry_interval),
        content_type=found.content_type,
        response_topic=response_topic.decode() if response_topic is not None else None,
        correlation_data=found.correlation_data,
        user_properties=found.user_properties,
    )


def _set_properties(message: Publish, given: MessageProperties, wall_ms: int) -> None:
    """Give a message its properties. Raises PeerError or ValueError for what MQTT can't carry."""
    properties = Properties()
    if given.payload_format_indicator is not None:
        properties.payload_format_indicator = given.payload_format_indicator
    properties.content_type = given.content_type
    if given.response_topic is not None:
        properties.response_topic = given.response_topic.encode()
        check_response_topic(properties.response_topic)
    properties.correlation_data = given.correlation_data
    properties.user_properties = given.user_properties
    message.properties = encode_properties_body(properties)
    if given.message_expiry_interval is not None:
        message.message_expiry_interval = given.message_expiry_interval
        message.expires_at_ms = wall_ms + given.message_expiry_interval * 1_000


ROUTES: Final = (
    Route("GET", "/api/v1/retained", retained),
    Route("GET", "/api/v1/retained/{topic...}", retained_message),
    Route("DELETE", "/api/v1/retained/{topic...}", delete_retained),
    Route("POST", "/api/v1/publish", publish),
)
