"""What a mosquitto.conf says about messages, beside mosquitto itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from beside import Dial, alone, arrived, beside, echo
from socket_client import await_true

from swellmq.codec.packets import Publish
from swellmq.codec.spec import PUBACK

pytestmark = pytest.mark.needs_mosquitto


@pytest.mark.parametrize(("most", "together"), [(10, 2), (6, 2), (5, 1), (0, 4)])
def test_bytes_in_flight(tmp_path: Path, most: int, together: int) -> None:
    """As the manual says; mosquitto 2.0.11 sends three at least."""
    text = f"allow_anonymous true\nlistener {{0}} 127.0.0.1\nmax_inflight_messages 0\nmax_inflight_bytes {most}\n"

    def talk(dial: Dial) -> Any:
        client, other = dial(), dial()
        client.connect("a")
        client.subscribe("t", 1)
        other.connect("b")
        for number in range(4):
            other.publish("t", b"x" * 5, 1, identifier=number + 1)
            other.receive()
        seen: list[Publish] = []
        counts = []
        while len(seen) < 4:
            client.send(b"\xc0\x00")
            while isinstance(packet := client.receive(), Publish):
                seen.append(packet)
            counts.append(len(seen))
            client.send(bytes([PUBACK << 4, 2]) + int(seen[len(counts) - 1].packet_identifier).to_bytes(2, "big"))
        return counts

    assert alone(tmp_path, text, talk)[0] == together


@pytest.mark.parametrize("check", [True, False])
def test_retained_messages_whose_publisher_lost_its_right(tmp_path: Path, check: bool) -> None:
    acl = tmp_path / "acl"
    acl.write_text("")
    text = f"allow_anonymous true\nlistener {{0}} 127.0.0.1\nacl_file {acl}\ncheck_retain_source {str(check).lower()}\n"

    def talk(dial: Dial) -> Any:
        ada, reader = dial(), dial()
        ada.connect("ada", username="ada")
        acl.write_text("topic read #\nuser ada\ntopic readwrite #\n")
        dial.reload()
        await_true(lambda: echo(ada, "yet") == ["00", "yet"])
        for topic in ("kept", "lost"):
            ada.publish(topic, b"x", retain=True)
        assert arrived(ada) == []
        reader.connect("reader")
        before = [reader.subscribe("+").hex(), *sorted(arrived(reader))]
        acl.write_text("topic read #\nuser ada\ntopic read #\ntopic write kept\ntopic write now\n")
        dial.reload()
        await_true(lambda: echo(ada, "no longer") == ["00"])
        arrived(reader)
        return before, [reader.subscribe("+").hex(), *sorted(arrived(reader))]

    before, after = beside(tmp_path, text, talk)
    assert before == ["00", "kept", "lost"]
    assert after == (["00", "kept"] if check else ["00", "kept", "lost"])
