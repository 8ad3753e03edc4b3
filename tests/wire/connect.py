"""Wire table: CONNECT and CONNACK, and what comes before them. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

ACCEPTED: Final = r"""
345 open   connect: A> CONNECT A< CONNACK  # [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-2]
345 open   connect with keep alive: A> CONNECT(PROTO 02 ffff { 1700 } "a") A< CONNACK
345 open   connect, not clean: A> CONNECT(PROTO 00 0000 {} "a") A< CONNACK  # [MQTT-3.1.2-6] [MQTT-3.2.2-3]
345 open   user name: A> CONNECT(PROTO 82 0000 {} "a" "user") A< CONNACK  # [MQTT-3.1.2-17]
345 open   user name and password: A> CONNECT(PROTO c2 0000 {} "a" "user" "secret") A< CONNACK  # [MQTT-3.1.2-19]
345 open   empty user name and password: A> CONNECT(PROTO c2 0000 {} "a" "" "") A< CONNACK
345 open   a password is any bytes: A> CONNECT(PROTO c2 0000 {} "a" "user" 0004 ff00fe80) A< CONNACK
5 open     password without user name: A> CONNECT(PROTO 42 0000 {} "a" "secret") A< CONNACK
345 open   will at QoS 0: A> CONNECT(PROTO 06 0000 {} "a" {} "w" "bye") A< CONNACK  # [MQTT-3.1.2-9]
345 open   will at QoS 2, retained: A> CONNECT(PROTO 36 0000 {} "a" {} "w" "bye") A< CONNACK  # [MQTT-3.1.2-12]
345 open   empty will message: A> CONNECT(PROTO 06 0000 {} "a" {} "w" "") A< CONNACK
345 open   will, user name and password: A> CONNECT(PROTO c6 0000 {} "a" {} "w" "bye" "u" "p") A< CONNACK
    # [MQTT-3.1.3-1]
345 open   client id of 23 characters: A> CONNECT(PROTO 02 0000 {} "abcdefghijklmnopqrstuvw") A< CONNACK
    # [MQTT-3.1.3-5]
345 open   client id of digits and letters: A> CONNECT(PROTO 02 0000 {} "0123456789XYZ") A< CONNACK
345 open   long client id: A> CONNECT(PROTO 02 0000 {} "0123456789"*40) A< CONNACK
345 open   client id beyond ASCII: A> CONNECT(PROTO 02 0000 {} "\xe9\u4e2d\U0001f600") A< CONNACK  # [MQTT-3.1.3-4]
345 open   client id with a byte order mark: A> CONNECT(PROTO 02 0000 {} 0003 efbbbf) A< CONNACK  # [MQTT-1.5.4-3]
4 closed   no client id, not clean: A> CONNECT(PROTO 00 0000 {} "") A< CONNACK(00 02)  # [MQTT311-3.1.3-8]
5 open     no client id, not clean: A> CONNECT(PROTO 00 0000 {} "")
    A< CONNACK(00 00 { 22 0040 12 "auto-1" 21 0400 })  # [MQTT-3.1.3-6] [MQTT-3.1.3-7]
45 open    no client id, clean: A> CONNECT(PROTO 02 0000 {} "")
    A< 3:CONNACK 5:CONNACK(00 00 { 22 0040 12 "auto-1" 21 0400 })  # [MQTT-3.1.3-6] [MQTT-3.1.3-7]
3 closed   no client id in 3.1: A> CONNECT(PROTO 02 0000 "") A< CONNACK(00 02)
3 closed   client id of 24 characters in 3.1, strict: set:client_id_3_1_strict=1
    A> CONNECT(PROTO 02 0000 "abcdefghijklmnopqrstuvwx") A< CONNACK(00 02)
3 open     client id of 24 characters in 3.1: A> CONNECT(PROTO 02 0000 "abcdefghijklmnopqrstuvwx") A< CONNACK
4 closed   client id longer than the broker wants: set:client_id_bytes=4
    A> CONNECT(PROTO 02 0000 "abcde") A< CONNACK(00 02)  # [MQTT311-3.1.3-9]
5 closed   client id longer than the broker wants: set:client_id_bytes=4
    A> CONNECT(PROTO 02 0000 { 17 00 } "abcde") A< CONNACK(00 85 {})  # [MQTT-3.1.3-8]
4 open     bridge of 3.1.1: A> CONNECT("MQTT" 84 02 0000 "a") A< CONNACK
3 open     bridge of 3.1: A> CONNECT("MQIsdp" 83 02 0000 "a") A< CONNACK
3 open     unused connect flags of 3.1: A> CONNECT(PROTO 3b 0000 "a") A< CONNACK
3 open     missing user name of 3.1: A> CONNECT(PROTO c2 0000 "a") A< CONNACK
3 open     missing password of 3.1: A> CONNECT(PROTO c2 0000 "a" "user") A< CONNACK
345 open   packets behind CONNECT: A> CONNECT PINGREQ PINGREQ A< CONNACK PINGRESP PINGRESP
345 closed CONNECT and DISCONNECT at once: A> CONNECT DISCONNECT A< CONNACK
"""

MALFORMED: Final = r"""
345 closed CONNECT without a body: A> CONNECT()
45 closed  protocol name cut off: A> CONNECT(0004 'MQ')
45 closed  no protocol level: A> CONNECT("MQTT")
45 closed  no connect flags: A> CONNECT(PROTO) A< REFUSED_MALFORMED
345 closed half a keep alive: A> CONNECT(PROTO 02 00) A< REFUSED_MALFORMED  # [MQTT-3.1.4-1]
345 closed no client id at all: A> CONNECT(PROTO 02 0000 {}) A< REFUSED_MALFORMED  # [MQTT-3.1.3-3]
345 closed client id cut off: A> CONNECT(PROTO 02 0000 {} 0002 'a') A< REFUSED_MALFORMED
345 closed bytes after the end of CONNECT: A> CONNECT(PROTO 02 0000 {} "a" 00) A< REFUSED_MALFORMED
345 closed password without its flag: A> CONNECT(PROTO 82 0000 {} "a" "u" "p") A< REFUSED_MALFORMED
    # [MQTT-3.1.2-18]
345 closed user name without its flag: A> CONNECT(PROTO 02 0000 {} "a" "u") A< REFUSED_MALFORMED  # [MQTT-3.1.2-16]
45 closed  flag without user name: A> CONNECT(PROTO 82 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-17]
45 closed  flag without password: A> CONNECT(PROTO c2 0000 {} "a" "u") A< REFUSED_MALFORMED  # [MQTT-3.1.2-19]
34 closed  password without user name: A> CONNECT(PROTO 42 0000 "a" "p")  # [MQTT311-3.1.2-22]
45 closed  reserved connect flag: A> CONNECT(PROTO 03 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-3]
345 closed will QoS 3: A> CONNECT(PROTO 1e 0000 {} "a" {} "w" "bye") A< REFUSED_MALFORMED  # [MQTT-3.1.2-12]
45 closed  will QoS without a will: A> CONNECT(PROTO 0a 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-11]
45 closed  will QoS 3 without a will: A> CONNECT(PROTO 1a 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-11]
45 closed  will retain without a will: A> CONNECT(PROTO 22 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-13]
345 closed will flag without a will: A> CONNECT(PROTO 06 0000 {} "a") A< REFUSED_MALFORMED  # [MQTT-3.1.2-9]
345 closed will topic without a message: A> CONNECT(PROTO 06 0000 {} "a" {} "w") A< REFUSED_MALFORMED
345 closed will topic that is not UTF-8: A> CONNECT(PROTO 06 0000 {} "a" {} 0001 ff "x") A< REFUSED_MALFORMED
    # [MQTT-3.1.3-11]
345 closed will topic with U+0000: A> CONNECT(PROTO 06 0000 {} "a" {} "w\0" "x") A< REFUSED_MALFORMED
345 closed empty will topic: A> CONNECT(PROTO 06 0000 {} "a" {} "" "x") A< REFUSED_MALFORMED  # [MQTT-4.7.3-1]
345 closed wildcard in a will topic: A> CONNECT(PROTO 06 0000 {} "a" {} "w/#" "x") A< REFUSED_MALFORMED
345 closed client id that is not UTF-8: A> CONNECT(PROTO 02 0000 {} 0002 c328) A< 5:CONNACK(00 85 {})  # [MQTT-1.5.4-1]
345 closed client id with a surrogate: A> CONNECT(PROTO 02 0000 {} 0003 eda080) A< 5:CONNACK(00 85 {})  # [MQTT-1.5.4-1]
345 closed client id in overlong UTF-8: A> CONNECT(PROTO 02 0000 {} 0002 c0af) A< 5:CONNACK(00 85 {})
345 closed client id above U+10FFFF: A> CONNECT(PROTO 02 0000 {} 0004 f4908080) A< 5:CONNACK(00 85 {})
345 closed client id with U+0000: A> CONNECT(PROTO 02 0000 {} "a\0b") A< 5:CONNACK(00 85 {})  # [MQTT-1.5.4-2]
345 closed user name that is not UTF-8: A> CONNECT(PROTO 82 0000 {} "a" 0001 80) A< REFUSED_MALFORMED  # [MQTT-3.1.3-12]
345 closed user name with U+0000: A> CONNECT(PROTO 82 0000 {} "a" "\0") A< REFUSED_MALFORMED  # [MQTT-1.5.4-2]
345 closed client id with a control character: A> CONNECT(PROTO 02 0000 {} "a\n") A< 5:CONNACK(00 85 {})
345 closed user name with a control character: A> CONNECT(PROTO 82 0000 {} "a" "\x7f") A< REFUSED_MALFORMED
345 open   control characters in a password: A> CONNECT(PROTO c2 0000 { 1700 } "a" "u" "\x01") A< CONNACK
5 open     control characters in a User Property: A> CONNECT(PROTO 02 0000 { 1700 26 "\t" "\n" } "a") A< CONNACK
45 closed  flags in the fixed header of CONNECT: A> 11(PROTO 02 0000 {} "a")  # [MQTT-2.1.3-1]
3 open     flags in the fixed header of CONNECT in 3.1: A> 1f(PROTO 03 0000 "a") A< CONNACK
345 closed remaining length of five bytes: A> 10 ffffffff01
5 closed   remaining length in a longer form: A> 10 8e00 PROTO 02 0000 {} "a"  # [MQTT-1.5.5-1]
4 open     remaining length in a longer form: A> 10 8d00 PROTO 02 0000 "a" A< CONNACK
345 closed what follows a malformed CONNECT: A> CONNECT(PROTO 1e 0000 {} "a" {} "w" "x") CONNECT PINGREQ
    A< REFUSED_MALFORMED  # [MQTT-3.1.4-6]
"""

VERSION: Final = r"""
4 closed   another protocol name: A> CONNECT("MQTX" 04 02 0000 "a")  # [MQTT-3.1.2-1]
4 closed   protocol name in lower case: A> CONNECT("mqtt" 04 02 0000 "a")  # [MQTT-3.1.2-1]
4 closed   empty protocol name: A> CONNECT("" 04 02 0000 "a")  # [MQTT-3.1.2-1]
4 closed   protocol name of 3.1 in another case: A> CONNECT("MQISDP" 03 02 0000 "a")
4 closed   something else than MQTT: A> 'GET / HTTP/1.1\r\n\r\n'
4 closed   a TLS handshake: A> 16030100c8010000c40303
4 closed   level 3 of MQTT: A> CONNECT("MQTT" 03 02 0000 "a") A< CONNACK(00 01)  # [MQTT311-3.1.2-2]
4 closed   level 2 of MQTT: A> CONNECT("MQTT" 02 02 0000 "a") A< CONNACK(00 01)  # [MQTT311-3.1.2-2]
4 closed   level 4 of MQIsdp: A> CONNECT("MQIsdp" 04 02 0000 "a") A< CONNACK(00 01)  # [MQTT311-3.1.2-2]
5 closed   level 6 of MQTT: A> CONNECT("MQTT" 06 02 0000 {} "a") A< CONNACK(00 84 {})  # [MQTT-3.1.2-2]
5 closed   level 127 of MQTT: A> CONNECT("MQTT" 7f 02 0000 {} "a") A< CONNACK(00 84 {})  # [MQTT-3.1.2-2]
"""

BEFORE: Final = r"""
45 closed  PUBLISH before CONNECT: A> PUBLISH("t" {} 'x')  # [MQTT-3.1.0-1]
45 closed  PUBLISH of QoS 1 before CONNECT: A> PUBLISH1("t" 0001 {} 'x')  # [MQTT-3.1.0-1]
45 closed  PUBACK before CONNECT: A> PUBACK(0001)  # [MQTT-3.1.0-1]
45 closed  PUBREC before CONNECT: A> PUBREC(0001)  # [MQTT-3.1.0-1]
45 closed  PUBREL before CONNECT: A> PUBREL(0001)  # [MQTT-3.1.0-1]
45 closed  PUBCOMP before CONNECT: A> PUBCOMP(0001)  # [MQTT-3.1.0-1]
45 closed  SUBSCRIBE before CONNECT: A> SUBSCRIBE(0001 {} "t" 00)  # [MQTT-3.1.0-1]
45 closed  UNSUBSCRIBE before CONNECT: A> UNSUBSCRIBE(0001 {} "t")  # [MQTT-3.1.0-1]
45 closed  PINGREQ before CONNECT: A> PINGREQ  # [MQTT-3.1.0-1]
45 closed  DISCONNECT before CONNECT: A> DISCONNECT  # [MQTT-3.1.0-1] [MQTT-3.14.0-1]
45 closed  AUTH before CONNECT: A> AUTH(18 { 15 "X" })  # [MQTT-3.1.0-1]
45 closed  CONNACK before CONNECT: A> CONNACK(00 00 {})  # [MQTT-3.1.0-1]
45 closed  packet type 0 before CONNECT: A> 0000
45 closed  CONNECT behind another packet: A> PINGREQ CONNECT  # [MQTT-3.1.0-1]
345 closed a second CONNECT: A> CONNECT A< CONNACK A> CONNECT A< PROTOCOL_ERROR  # [MQTT-3.1.0-2] [MQTT-3.2.0-2]
345 closed two CONNECTs in one piece: A> CONNECT CONNECT A< CONNACK PROTOCOL_ERROR  # [MQTT-3.1.0-2]
345 closed a second CONNECT of another version: A> CONNECT A< CONNACK A> CONNECT("MQIsdp" 03 02 0000 "b")
    A< PROTOCOL_ERROR
345 open   two connections: a> PINGREQ a< PINGRESP b> PINGREQ b< PINGRESP
45 closed  half a CONNECT, and no more: A> 1010 wait:6
45 closed  nothing at all: A> 10 wait:6
"""

# 5.0: what each property of CONNECT may be.
PROPERTIES: Final = r"""
5 open   property length 0: A> CONNECT(PROTO 02 0000 00 "a") A< CONNACK  # [MQTT-2.2.2-1]
5 open   all properties of CONNECT: A> CONNECT(PROTO 02 0000 { 11 0000000a 21 0014 27 00010000 22 0000 19 01 17 00
    26 "k" "v" 26 "k" "v" } "a") A< CONNACK
5 open   Session Expiry Interval without end: A> CONNECT(PROTO 02 0000 { 11 ffffffff } "a") A< CONNACK
5 open   Session Expiry Interval 0: A> CONNECT(PROTO 02 0000 { 11 00000000 } "a") A< CONNACK
5 open   Session Expiry Interval that is lowered: set:session_expiry_max_s=60
    A> CONNECT(PROTO 02 0000 { 11 0000003d } "a") A< CONNACK(00 00 { 11 0000003c CAPABILITIES })
5 closed Session Expiry Interval twice: A> CONNECT(PROTO 02 0000 { 11 00000001 11 00000001 } "a")
    A< REFUSED_PROTOCOL_ERROR
5 closed Session Expiry Interval cut off: A> CONNECT(PROTO 02 0000 { 11 000001 } "a") A< REFUSED_MALFORMED
5 closed Receive Maximum 0: A> CONNECT(PROTO 02 0000 { 21 0000 } "a") A< REFUSED_PROTOCOL_ERROR
5 open   Receive Maximum 65535: A> CONNECT(PROTO 02 0000 { 21 ffff } "a") A< CONNACK
5 closed Receive Maximum twice: A> CONNECT(PROTO 02 0000 { 21 0001 21 0002 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Maximum Packet Size 0: A> CONNECT(PROTO 02 0000 { 27 00000000 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Maximum Packet Size twice: A> CONNECT(PROTO 02 0000 { 27 00010000 27 00010000 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Maximum Packet Size below that of CONNACK: A> CONNECT(PROTO 02 0000 { 27 00000006 } "a") A< CONNACK(00 95 {})
    # [MQTT-3.1.2-24]
5 closed Maximum Packet Size below any CONNACK: A> CONNECT(PROTO 02 0000 { 27 00000004 } "a")  # [MQTT-3.1.2-24]
5 closed Topic Alias Maximum twice: A> CONNECT(PROTO 02 0000 { 22 0001 22 0001 } "a") A< REFUSED_PROTOCOL_ERROR
5 open   Topic Alias Maximum 65535: A> CONNECT(PROTO 02 0000 { 22 ffff } "a") A< CONNACK
5 open   Request Response Information: A> CONNECT(PROTO 02 0000 { 19 01 } "a") A< CONNACK
5 closed Request Response Information 2: A> CONNECT(PROTO 02 0000 { 19 02 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Request Response Information twice: A> CONNECT(PROTO 02 0000 { 19 00 19 00 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Request Problem Information 2: A> CONNECT(PROTO 02 0000 { 17 02 } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Request Problem Information twice: A> CONNECT(PROTO 02 0000 { 17 01 17 01 } "a") A< REFUSED_PROTOCOL_ERROR
5 open   User Property with empty strings: A> CONNECT(PROTO 02 0000 { 26 "" "" } "a") A< CONNACK
5 closed User Property without a value: A> CONNECT(PROTO 02 0000 { 26 "k" } "a") A< REFUSED_MALFORMED
5 closed User Property with a name that is not UTF-8: A> CONNECT(PROTO 02 0000 { 26 0001 ff "v" } "a")
    A< REFUSED_MALFORMED  # [MQTT-1.5.7-1]
5 closed User Property with a value that is not UTF-8: A> CONNECT(PROTO 02 0000 { 26 "k" 0001 ff } "a")
    A< REFUSED_MALFORMED  # [MQTT-1.5.7-1]
5 closed User Property with U+0000: A> CONNECT(PROTO 02 0000 { 26 "k" "\0" } "a") A< REFUSED_MALFORMED  # [MQTT-1.5.7-1]
5 closed unknown Authentication Method: A> CONNECT(PROTO 02 0000 { 17 00 15 "X" } "a") A< CONNACK(00 8c {})
    # [MQTT-4.12.0-1]
5 closed unknown Authentication Method with data: A> CONNECT(PROTO 02 0000 { 17 00 15 "X" 16 "d" } "a")
    A< CONNACK(00 8c {})
5 closed Authentication Method twice: A> CONNECT(PROTO 02 0000 { 15 "X" 15 "X" } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Authentication Data twice: A> CONNECT(PROTO 02 0000 { 15 "X" 16 "d" 16 "d" } "a") A< REFUSED_PROTOCOL_ERROR
5 closed Authentication Data without a method: A> CONNECT(PROTO 02 0000 { 16 "d" } "a") A< REFUSED_PROTOCOL_ERROR
5 closed CONNECT with Payload Format Indicator: A> CONNECT(PROTO 02 0000 { 01 00 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Message Expiry Interval: A> CONNECT(PROTO 02 0000 { 02 00000001 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Response Topic: A> CONNECT(PROTO 02 0000 { 08 "r" } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Subscription Identifier: A> CONNECT(PROTO 02 0000 { 0b 01 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Assigned Client Identifier: A> CONNECT(PROTO 02 0000 { 12 "b" } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Server Keep Alive: A> CONNECT(PROTO 02 0000 { 13 0001 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Will Delay Interval: A> CONNECT(PROTO 02 0000 { 18 00000001 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Response Information: A> CONNECT(PROTO 02 0000 { 1a "r" } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Server Reference: A> CONNECT(PROTO 02 0000 { 1c "s" } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Reason String: A> CONNECT(PROTO 02 0000 { 1f "r" } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Topic Alias: A> CONNECT(PROTO 02 0000 { 23 0001 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Maximum QoS: A> CONNECT(PROTO 02 0000 { 24 01 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Retain Available: A> CONNECT(PROTO 02 0000 { 25 01 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with Shared Subscription Available: A> CONNECT(PROTO 02 0000 { 2a 01 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with an unknown property: A> CONNECT(PROTO 02 0000 { 04 00 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with a property beyond the table: A> CONNECT(PROTO 02 0000 { 7f 00 } "a") A< REFUSED_MALFORMED
5 closed CONNECT with a property of two bytes: A> CONNECT(PROTO 02 0000 { 8001 00 } "a") A< REFUSED_MALFORMED
5 closed properties longer than CONNECT: A> CONNECT(PROTO 02 0000 7f "a") A< REFUSED_MALFORMED
5 closed property length in a longer form: A> CONNECT(PROTO 02 0000 8000 "a") A< REFUSED_MALFORMED  # [MQTT-1.5.5-1]
5 closed property length of five bytes: A> CONNECT(PROTO 02 0000 8080808001 "a") A< REFUSED_MALFORMED
5 closed property length cut off: A> CONNECT(PROTO 02 0000 80) A< REFUSED_MALFORMED
5 closed no property length: A> CONNECT(PROTO 02 0000) A< REFUSED_MALFORMED
"""

# 5.0: the will properties.
WILL_PROPERTIES: Final = r"""
5 open   all will properties: A> CONNECT(PROTO 06 0000 {} "a" { 18 00000001 01 01 02 00000001 03 "c" 08 "r" 09 0001 ff
    26 "k" "v" } "w" "bye") A< CONNACK
5 closed Will Delay Interval twice: A> CONNECT(PROTO 06 0000 {} "a" { 18 00000001 18 00000001 } "w" "x")
    A< REFUSED_PROTOCOL_ERROR
5 closed will Payload Format Indicator 2: A> CONNECT(PROTO 06 0000 {} "a" { 01 02 } "w" "x") A< REFUSED_PROTOCOL_ERROR
5 closed will Payload Format Indicator twice: A> CONNECT(PROTO 06 0000 {} "a" { 01 01 01 01 } "w" "x")
    A< REFUSED_PROTOCOL_ERROR
5 closed will Message Expiry Interval twice: A> CONNECT(PROTO 06 0000 {} "a" { 02 00000001 02 00000001 } "w" "x")
    A< REFUSED_PROTOCOL_ERROR
5 closed will Content Type twice: A> CONNECT(PROTO 06 0000 {} "a" { 03 "c" 03 "c" } "w" "x") A< REFUSED_PROTOCOL_ERROR
5 closed will Response Topic twice: A> CONNECT(PROTO 06 0000 {} "a" { 08 "r" 08 "r" } "w" "x") A< REFUSED_PROTOCOL_ERROR
5 closed will Correlation Data twice: A> CONNECT(PROTO 06 0000 {} "a" { 09 "r" 09 "r" } "w" "x")
    A< REFUSED_PROTOCOL_ERROR
5 closed will Content Type that is not UTF-8: A> CONNECT(PROTO 06 0000 {} "a" { 03 0001 ff } "w" "x")
    A< REFUSED_MALFORMED
5 closed will with Session Expiry Interval: A> CONNECT(PROTO 06 0000 {} "a" { 11 00000001 } "w" "x")
    A< REFUSED_MALFORMED
5 closed will with Topic Alias: A> CONNECT(PROTO 06 0000 {} "a" { 23 0001 } "w" "x") A< REFUSED_MALFORMED
5 closed will with Subscription Identifier: A> CONNECT(PROTO 06 0000 {} "a" { 0b 01 } "w" "x") A< REFUSED_MALFORMED
5 closed will properties longer than CONNECT: A> CONNECT(PROTO 06 0000 {} "a" 7f "w" "x") A< REFUSED_MALFORMED
"""

# What the broker was told not to offer.
NOT_AVAILABLE: Final = r"""
5 open   announced Maximum QoS: set:maximum_qos=1 A> CONNECT A< CONNACK(00 00 { CAPABILITIES 24 01 })  # [MQTT-3.2.2-9]
5 open   announced Retain Available: set:retain_available=0 A> CONNECT A< CONNACK(00 00 { 22 0040 25 00 21 0400 })
5 open   announced Wildcard Subscription Available: set:wildcard_subscription_available=0
    A> CONNECT A< CONNACK(00 00 { 22 0040 28 00 21 0400 })
5 open   announced Subscription Identifier Available: set:subscription_identifier_available=0
    A> CONNECT A< CONNACK(00 00 { 22 0040 29 00 21 0400 })
5 open   announced Shared Subscription Available: set:shared_subscription_available=0
    A> CONNECT A< CONNACK(00 00 { 22 0040 2a 00 21 0400 })
5 open   announced Maximum Packet Size: set:packet_bytes=1024
    A> CONNECT A< CONNACK(00 00 { 22 0040 27 00000400 21 0400 })
5 open   announced Server Keep Alive: set:keep_alive_max_s=60 A> CONNECT(PROTO 02 0000 {} "a")
    A< CONNACK(00 00 { 13 003c 22 0040 21 0400 })
5 open   Keep Alive within the server's: set:keep_alive_max_s=60 A> CONNECT(PROTO 02 003c {} "a") A< CONNACK
    # [MQTT-3.2.2-22]
5 closed will above Maximum QoS: set:maximum_qos=1 A> CONNECT(PROTO 16 0000 { 17 00 } "a" {} "w" "x")
    A< CONNACK(00 9b {})
    # [MQTT-3.2.2-12] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
5 closed retained will: set:retain_available=0 A> CONNECT(PROTO 26 0000 { 17 00 } "a" {} "w" "x")
    A< CONNACK(00 9a {})
    # [MQTT-3.2.2-13]
34 closed will above Maximum QoS: set:maximum_qos=1 A> CONNECT(PROTO 16 0000 "a" "w" "x")  # [MQTT311-3.2.2-6]
"""
