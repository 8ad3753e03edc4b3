"""Wire table: sessions, takeover, wills and flow control across connections. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

SESSIONS: Final = r"""
345 open a session is resumed: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 00) A< SUBACK(0001 {} 00) A:drops A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED
    b> PUBLISH("t" {} 'x') A< PUBLISH("t" {} 'x')  # [MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT311-3.1.2-4]
345 open a session is discarded: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 00) A< SUBACK(0001 {} 00) A:drops A> CONNECT(PROTO 02 0000 { 11 ffffffff } "a") A< CONNACK
    b> PUBLISH("t" {} 'x')  # [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT311-3.1.2-6]
345 open a clean session ends with its connection: A> CONNECT A< CONNACK A> SUBSCRIBE(0001 {} "t" 01)
    A< SUBACK(0001 {} 01) A:drops A> CONNECT(PROTO 00 0000 {} "a") A< CONNACK  # [MQTT-4.1.0-2] [MQTT311-3.1.2-6]
345 open a session keeps QoS 1 and 2 for its client: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) A> DISCONNECT A:closed
    b> PUBLISH("t" {} '0') PUBLISH1("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2') b< PUBACK(0001) PUBREC(0002)
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED PUBLISH1("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2')
    # [MQTT311-3.1.2-5]
345 open sent again with DUP: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) b> PUBLISH1("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2')
    b< PUBACK(0001) PUBREC(0002) A< PUBLISH1("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2') A:drops
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED DPUBLISH1("t" 0001 {} '1') DPUBLISH2("t" 0002 {} '2')
    # [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]
345 open PUBREL is sent again: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) b> PUBLISH2("t" 0002 {} '2') b< PUBREC(0002)
    A< PUBLISH2("t" 0001 {} '2') A> PUBREC(0001) A< PUBREL(0001) A:drops
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED PUBREL(0001) A> PUBCOMP(0001)
    # [MQTT-4.4.0-1] [MQTT-4.3.3-6]
345 open what was acknowledged is not sent again: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2')
    b< PUBACK(0001) PUBACK(0002) A< PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2') A> PUBACK(0001) A:drops
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED DPUBLISH1("t" 0002 {} '2')  # [MQTT-4.4.0-2]
345 open QoS 2 from a client across connections: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    b> SUBSCRIBE(0001 {} "t" 00) b< SUBACK(0001 {} 00) A> PUBLISH2("t" 0005 {} 'x') A< PUBREC(0005) A:drops
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED A> DPUBLISH2("t" 0005 {} 'x') A< PUBREC(0005)
    A> PUBREL(0005) A< PUBCOMP(0005) b< PUBLISH("t" {} 'x')  # [MQTT-4.3.3-10]
345 open PUBREL on the next connection: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    b> SUBSCRIBE(0001 {} "t" 00) b< SUBACK(0001 {} 00) A> PUBLISH2("t" 0005 {} 'x') A< PUBREC(0005) A:drops
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED A> PUBREL(0005) A< PUBCOMP(0005) b< PUBLISH("t" {} 'x')
5 open   a session expires: A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK A:drops wait:6
    A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK  # [MQTT-4.1.0-2]
5 open   a session does not expire yet: A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK A:drops wait:4
    A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< RESUMED  # [MQTT-3.1.2-23]
5 open   a session does not expire while connected: A> CONNECT(PROTO 00 0000 { 11 00000001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 00) A< SUBACK(0001 {} 00) wait:60 b> PUBLISH("t" {} 'x') A< PUBLISH("t" {} 'x')
    # [MQTT-4.1.0-1]
5 open   DISCONNECT ends a session: A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK
    A> DISCONNECT(00 { 11 00000000 }) A:closed A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK
5 open   DISCONNECT lengthens a session: A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< CONNACK
    A> DISCONNECT(00 { 11 000000ff }) A:closed wait:100 A> CONNECT(PROTO 00 0000 { 11 00000005 } "a") A< RESUMED
345 open a session goes on in 3.1.1: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) A:drops b> PUBLISH1("t" 0001 {} 'x') b< PUBACK(0001)
    C4> CONNECT(PROTO 00 0000 "a") C4< RESUMED PUBLISH1("t" 0001 'x')
5 open   a message expires in its queue: A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) A:drops
    b> PUBLISH1("t" 0001 { 02 00000005 } 'x') PUBLISH1("t" 0002 { 02 0000000a } 'y') b< PUBACK(0001) PUBACK(0002) wait:7
    A> CONNECT(PROTO 00 0000 { 11 ffffffff } "a") A< RESUMED PUBLISH1("t" 0002 { 02 00000003 } 'y')
    # [MQTT-3.3.2-5] [MQTT-3.3.2-6]
"""

TAKEOVER: Final = r"""
345 closed a second connection takes over: A> CONNECT A< CONNACK B> CONNECT B< CONNACK A< 5:DISCONNECT(8e)
    B> PINGREQ B< PINGRESP  # [MQTT-3.1.4-3]
345 closed takeover with its session: A> CONNECT(PROTO 00 0000 { 17 00 11 ffffffff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {} 'x') b< PUBACK(0001)
    A< PUBLISH1("t" 0001 {} 'x') C> CONNECT(PROTO 00 0000 { 17 00 11 ffffffff } "a")
    C< RESUMED DPUBLISH1("t" 0001 {} 'x') A< 5:DISCONNECT(8e)  # [MQTT-3.1.4-3] [MQTT-4.4.0-1]
345 closed takeover sends the will: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00) b> PINGREQ b< PINGRESP
    A> CONNECT(PROTO 06 0000 { 17 00 } "a" {} "w" "bye") A< CONNACK C> CONNECT C< CONNACK A< 5:DISCONNECT(8e) A:closed
    b< PUBLISH("w" {} 'bye') b> DISCONNECT
5 closed   takeover within the will's delay: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 17 00 11 ffffffff } "a" { 18 0000000a } "w" "bye") A< CONNACK
    C> CONNECT(PROTO 00 0000 { 17 00 11 ffffffff } "a") C< RESUMED A< DISCONNECT(8e) A:closed wait:20 b> DISCONNECT
    # [MQTT-3.1.3-9]
"""

WILLS: Final = r"""
345 open the will after a lost connection: b> SUBSCRIBE(0001 {} "w" 02) b< SUBACK(0001 {} 02)
    A> CONNECT(PROTO 16 0000 {} "a" {} "w" "bye") A< CONNACK A:drops b< PUBLISH2("w" 0001 {} 'bye')  # [MQTT-3.1.2-8]
345 open no will after DISCONNECT: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 0000 {} "a" {} "w" "bye") A< CONNACK A> DISCONNECT A:closed  # [MQTT-3.14.4-3] [MQTT-3.1.2-10]
345 open no will without one: b> SUBSCRIBE(0001 {} "#" 00) b< SUBACK(0001 {} 00) A> CONNECT A< CONNACK A:drops
    # [MQTT311-3.1.2-12]
5 open   DISCONNECT with Will Message: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 0000 {} "a" {} "w" "bye") A< CONNACK A> DISCONNECT(04) A:closed b< PUBLISH("w" {} 'bye')
345 open the will after a protocol error: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 0000 { 17 00 } "a" {} "w" "bye") A< CONNACK A> 36("t" 0001 {}) A< MALFORMED A:closed
    b< PUBLISH("w" {} 'bye')  # [MQTT-3.1.2-8]
345 open a retained will: A> CONNECT(PROTO 26 0000 {} "a" {} "w" "bye") A< CONNACK A:drops b> SUBSCRIBE(0001 {} "w" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("w" {} 'bye') A> CONNECT A< CONNACK  # [MQTT-3.1.2-15]
345 open a will that is not retained: A> CONNECT(PROTO 06 0000 {} "a" {} "w" "bye") A< CONNACK A:drops
    b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00) A> CONNECT A< CONNACK  # [MQTT-3.1.2-14]
345 open the will after silence: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 000a { 17 00 } "a" {} "w" "bye") A< CONNACK wait:15.2 A< 5:DISCONNECT(8d) A:closed
    b< PUBLISH("w" {} 'bye')  # [MQTT-3.1.2-8] [MQTT-3.1.2-22]
5 open   properties of the will travel on: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 0000 {} "a" { 01 01 03 "c" 08 "r" 09 "d" 26 "k" "1" 26 "k" "2" } "w" "bye") A< CONNACK A:drops
    b< PUBLISH("w" { 01 01 03 "c" 08 "r" 09 "d" 26 "k" "1" 26 "k" "2" } 'bye')  # [MQTT-3.1.3-10]
5 open   Message Expiry Interval of the will counts from its publication: b> SUBSCRIBE(0001 {} "w" 00)
    b< SUBACK(0001 {} 00) A> CONNECT(PROTO 04 0000 { 11 000000ff } "a" { 18 0000000a 02 00000014 } "w" "bye") A< CONNACK
    A:drops wait:11 b< PUBLISH("w" { 02 00000014 } 'bye')
5 open   Will Delay Interval: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 11 000000ff } "a" { 18 0000000a } "w" "bye") A< CONNACK A:drops wait:9 b> PINGREQ
    b< PINGRESP wait:2 b< PUBLISH("w" {} 'bye')  # [MQTT-3.1.2-8]
5 open   the end of the session before Will Delay Interval: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 11 00000005 } "a" { 18 0000000a } "w" "bye") A< CONNACK A:drops wait:4 b> PINGREQ
    b< PINGRESP wait:2 b< PUBLISH("w" {} 'bye')  # [MQTT-3.1.2-8]
5 open   Will Delay Interval without a session: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 06 0000 {} "a" { 18 0000000a } "w" "bye") A< CONNACK A:drops b< PUBLISH("w" {} 'bye')
5 open   back within Will Delay Interval: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 11 000000ff } "a" { 18 0000000a } "w" "bye") A< CONNACK A:drops wait:5
    A> CONNECT(PROTO 00 0000 { 11 000000ff } "a") A< RESUMED wait:20  # [MQTT-3.1.3-9]
5 open   back with Clean Start within Will Delay Interval: b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 11 000000ff } "a" { 18 0000000a } "w" "bye") A< CONNACK A:drops wait:5
    A> CONNECT A< CONNACK b< PUBLISH("w" {} 'bye')
"""

FLOW: Final = r"""
5 open Receive Maximum of the client: A> CONNECT(PROTO 02 0000 { 17 00 21 0001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) b> PUBLISH1("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2')
    PUBLISH("t" {} '0') b< PUBACK(0001) PUBREC(0002) A< PUBLISH1("t" 0001 {} '1') PUBLISH("t" {} '0') A> PUBACK(0001)
    A< PUBLISH2("t" 0002 {} '2')  # [MQTT-3.3.4-9] [MQTT-4.9.0-2]
5 open PUBREC frees no room: A> CONNECT(PROTO 02 0000 { 17 00 21 0001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2')
    b< PUBREC(0001) PUBREC(0002) A< PUBLISH2("t" 0001 {} '1') A> PUBREC(0001) A< PUBREL(0001) A> PUBCOMP(0001)
    A< PUBLISH2("t" 0002 {} '2')  # [MQTT-4.9.0-2]
5 open PUBREC that refuses frees room: A> CONNECT(PROTO 02 0000 { 17 00 21 0001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 02) A< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {} '1') PUBLISH2("t" 0002 {} '2')
    b< PUBREC(0001) PUBREC(0002) A< PUBLISH2("t" 0001 {} '1') A> PUBREC(0001 83) A< PUBLISH2("t" 0002 {} '2')
5 open a full window stops nothing else: A> CONNECT(PROTO 02 0000 { 17 00 21 0001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2')
    b< PUBACK(0001) PUBACK(0002) A< PUBLISH1("t" 0001 {} '1')
    A> PINGREQ SUBSCRIBE(0002 {} "u" 00) UNSUBSCRIBE(0003 {} "u")
    PUBLISH2("v" 0009 {}) A< PINGRESP SUBACK(0002 {} 00) UNSUBACK(0003 {} 00) PUBREC(0009)  # [MQTT-4.9.0-3]
5 open the new Receive Maximum after resumption: A> CONNECT(PROTO 00 0000 { 17 00 11 000000ff } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2')
    b< PUBACK(0001) PUBACK(0002) A< PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2') A:drops
    A> CONNECT(PROTO 00 0000 { 17 00 11 000000ff 21 0001 } "a") A< RESUMED DPUBLISH1("t" 0001 {} '1') A> PUBACK(0001)
    A< DPUBLISH1("t" 0002 {} '2')  # [MQTT-3.3.4-9]
5 open Maximum Packet Size of the client: A> CONNECT(PROTO 02 0000 { 17 00 27 00000014 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "t" 01) A< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {} 'x'*13) PUBLISH1("t" 0002 {} 'x'*12)
    b< PUBACK(0001) PUBACK(0002) A< PUBLISH1("t" 0002 {} 'x'*12)  # [MQTT-3.1.2-24] [MQTT-3.1.2-25]
"""
