"""Wire table: PINGREQ, DISCONNECT, AUTH, and packets that no client sends. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

PING: Final = r"""
345 open   PINGREQ: a> PINGREQ a< PINGRESP  # [MQTT-3.12.4-1]
345 closed PINGREQ with a body: a> PINGREQ(00) a< MALFORMED
45 closed  PINGREQ with flags: a> c1 00 a< MALFORMED  # [MQTT-2.1.3-1]
3 open     PINGREQ with flags in 3.1: a> c1 00 a< PINGRESP
5 closed   remaining length of PINGREQ in a longer form: a> c0 8000 a< MALFORMED  # [MQTT-1.5.5-1]
34 open    remaining length of PINGREQ in a longer form: a> c0 8000 c0 808000 a< PINGRESP PINGRESP
345 closed remaining length of PINGREQ of five bytes: a> c0 8080808000 a< MALFORMED
"""

DISCONNECT: Final = r"""
345 closed DISCONNECT: a> DISCONNECT  # [MQTT-3.14.4-1]
345 closed what follows DISCONNECT: a> DISCONNECT PINGREQ PUBLISH1("t" 0001 {})
34 closed  DISCONNECT with a body: a> DISCONNECT(00)
45 closed  DISCONNECT with flags: a> e1 00 a< MALFORMED  # [MQTT-3.14.1-1]
5 closed   DISCONNECT with a reason code: a> DISCONNECT(00)
5 closed   DISCONNECT with a reason code of an error: a> DISCONNECT(81)
5 closed   DISCONNECT with properties: a> DISCONNECT(00 { 11 00000000 1f "r" 26 "k" "v" 26 "k" "v" })
5 closed   DISCONNECT with an unknown reason code: a> DISCONNECT(01) a< MALFORMED  # [MQTT-3.14.2-1]
5 closed   DISCONNECT with the reason code of SUBACK: a> DISCONNECT(91) a< MALFORMED  # [MQTT-3.14.2-1]
5 closed   DISCONNECT with Session Expiry Interval after none: a> DISCONNECT(00 { 11 0000000a }) a< PROTOCOL_ERROR
5 closed   DISCONNECT with two Session Expiry Intervals: a> DISCONNECT(00 { 11 00000000 11 00000000 }) a< PROTOCOL_ERROR
5 closed   DISCONNECT with two Reason Strings: a> DISCONNECT(00 { 1f "r" 1f "r" }) a< PROTOCOL_ERROR
5 closed   DISCONNECT with Receive Maximum: a> DISCONNECT(00 { 21 0001 }) a< MALFORMED
5 closed   DISCONNECT with half its properties: a> DISCONNECT(00 05 11) a< MALFORMED
5 closed   DISCONNECT with bytes after its end: a> DISCONNECT(00 {} 00) a< MALFORMED
5 closed   DISCONNECT with a Reason String that is not UTF-8: a> DISCONNECT(00 { 1f 0001 ff }) a< MALFORMED
345 closed one DISCONNECT closes one connection: a> DISCONNECT a:closed b> PINGREQ b< PINGRESP
"""

AUTH: Final = r"""
34 closed AUTH before 5.0: a> AUTH()
34 closed AUTH before 5.0 with a body: a> AUTH(18 00)
5 closed  AUTH that nobody asked for: a> AUTH(18 { 15 "X" }) a< PROTOCOL_ERROR  # [MQTT-4.12.0-7]
5 closed  AUTH that authenticates again: a> AUTH(19 { 15 "X" }) a< PROTOCOL_ERROR  # [MQTT-4.12.0-7]
5 closed  AUTH without a body: a> AUTH() a< PROTOCOL_ERROR  # [MQTT-4.12.0-7]
5 closed  AUTH with flags, where CONNECT named no method: a> f2 00 a< PROTOCOL_ERROR  # [MQTT-4.12.0-7]
5 closed  CONNACK with flags: a> 21(00 00 {}) a< PROTOCOL_ERROR
"""

FROM_A_SERVER: Final = r"""
345 closed packet type 0: a> 0000 a< MALFORMED
345 closed CONNACK from a client: a> CONNACK(00 00 {}) a< PROTOCOL_ERROR
345 closed SUBACK from a client: a> SUBACK(0001 {} 00) a< PROTOCOL_ERROR
345 closed UNSUBACK from a client: a> UNSUBACK(0001 {} 5:00) a< PROTOCOL_ERROR
345 closed PINGRESP from a client: a> PINGRESP a< PROTOCOL_ERROR
"""

KEEP_ALIVE: Final = r"""
345 closed silence of one and a half Keep Alive: A> CONNECT(PROTO 02 000a { 17 00 } "a") A< CONNACK wait:15.2
    A< 5:DISCONNECT(8d)  # [MQTT-3.1.2-22]
345 open   silence of less: A> CONNECT(PROTO 02 000a {} "a") A< CONNACK wait:14
345 open   Keep Alive counts from the last packet: A> CONNECT(PROTO 02 000a {} "a") A< CONNACK wait:10 A> PINGREQ
    A< PINGRESP wait:10
345 open   Keep Alive 0: A> CONNECT(PROTO 02 0000 {} "a") A< CONNACK wait:100000
345 closed Keep Alive is not told by a half packet: A> CONNECT(PROTO 02 000a { 17 00 } "a") A< CONNACK wait:14 A> c0
    wait:16 A< 5:DISCONNECT(8d)
5 closed   Server Keep Alive holds: set:keep_alive_max_s=10 A> CONNECT(PROTO 02 0000 { 17 00 } "a")
    A< CONNACK(00 00 { 13 000a 22 0040 21 0400 }) wait:15.2 A< DISCONNECT(8d)  # [MQTT-3.1.2-22]
"""
