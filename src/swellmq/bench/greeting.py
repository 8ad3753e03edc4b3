"""What each client of a fleet says at once: CONNECT, and perhaps SUBSCRIBE to one filter that no other client has.

The shape is that of devices: a client id of 15 bytes, a topic filter of 18, QoS 1, a clean session. A test compares the
bytes with what `generator.py` makes; here they are spelled out, because this is imported by a process whose own memory
is measured.
"""

from __future__ import annotations

from typing import Final

# The keep alive is an hour: a fleet says nothing, also not while a clock that is moved by hand runs ahead.
CONNECT_3: Final = b"\x10\x1b\x00\x04MQTT\x04\x02\x0e\x10\x00\x0fdevice-%08d"
SUBSCRIBE_3: Final = b"\x82\x17\x00\x01\x00\x12fleet/%08d/cmd\x01"
CONNECT_5: Final = b"\x10\x1c\x00\x04MQTT\x05\x02\x0e\x10\x00\x00\x0fdevice-%08d"
SUBSCRIBE_5: Final = b"\x82\x18\x00\x01\x00\x00\x12fleet/%08d/cmd\x01"


def greeting(number: int, subscribe: bool, five: bool = False) -> bytes:
    """What the client of this number says first, in MQTT 3.1.1 or, with `five`, 5.0."""
    connect = (CONNECT_5 if five else CONNECT_3) % number
    return connect + (SUBSCRIBE_5 if five else SUBSCRIBE_3) % number if subscribe else connect
