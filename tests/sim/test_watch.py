"""What the watch lets pass, and what not, where several explanations are possible."""

from __future__ import annotations

import pytest
from sim.model import Connection, Message, Replay, Session, Subscription, Violation
from sim.oracle import Oracle
from sim.watch import Watch

from swellmq.codec.packets import Publish
from swellmq.codec.spec import MQTT_3_1_1
from swellmq.limits import Limits

OLD = Publish(b"t", b"old", 0, True)
NEW = Publish(b"t", b"new", 0, True)


def two_replays(other_turn: int) -> tuple[Watch, Connection]:
    """A client has asked for `t` at QoS 0, and in `other_turn` at QoS 1. First a message of QoS 0 is retained there,
    which either may send, then one of QoS 2, which only the first sends at QoS 0."""
    oracle = Oracle(Limits(), late=False)
    oracle.retained_since["t"] = [Message(1, "t", b"old", 0, True, "p"), Message(9, "t", b"new", 2, True, "p")]
    session = Session("c")
    first = Replay(Subscription("t"), 0, started=2, turn=1, packet_bytes_max=0)
    other = Replay(Subscription("t", qos=1), 1, started=2, turn=other_turn, packet_bytes_max=0, required=False)
    session.replays = [first, other]
    oracle.turn = 1
    return Watch(oracle), Connection("1", session, MQTT_3_1_1, admitted=True, acknowledged=True)


def test_replays_of_one_topic_are_told_apart_by_what_comes_later() -> None:
    watch, connection = two_replays(other_turn=1)
    watch.look_at(connection, OLD)
    watch.look_at(connection, NEW)
    for again in (OLD, NEW):
        with pytest.raises(Violation, match="not entitled"):
            watch.look_at(connection, again)


def test_a_replay_has_not_sent_what_left_before_it_began() -> None:
    watch, connection = two_replays(other_turn=2)
    watch.look_at(connection, OLD)
    watch.oracle.turn = 2
    with pytest.raises(Violation, match="not entitled"):
        watch.look_at(connection, NEW)
