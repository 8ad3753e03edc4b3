"""Wire table: PUBLISH, its topics, properties and aliases. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

GOOD: Final = r"""
345 open publish at QoS 0: a> PUBLISH("t" {} 'x')  # [MQTT-3.3.4-1]
345 open publish at QoS 1: a> PUBLISH1("t" 0001 {} 'x') a< PUBACK(0001 5:10)  # [MQTT-3.3.4-1] [MQTT-4.3.2-4]
345 open publish at QoS 2: a> PUBLISH2("t" 0001 {} 'x') a< PUBREC(0001) a> PUBREL(0001) a< PUBCOMP(0001)
    # [MQTT-3.3.4-1] [MQTT-4.3.3-8] [MQTT-4.3.3-11]
345 open publish an empty message: a> PUBLISH1("t" 0001 {}) a< PUBACK(0001 5:10)
345 open publish 200 bytes: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" {} 'x'*200)
    a< PUBLISH("t" {} 'x'*200)
345 open publish 20,000 bytes: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" {} 'x'*20000)
    a< PUBLISH("t" {} 'x'*20000)
345 open publish a topic of 65,535 bytes: a> SUBSCRIBE(0001 {} "#" 00) a< SUBACK(0001 {} 00) b> PUBLISH("x"*65535 {})
    a< PUBLISH("x"*65535 {})  # [MQTT-4.7.3-3]
345 open publish with identifier 65535: a> PUBLISH1("t" ffff {} 'x') a< PUBACK(ffff 5:10)  # [MQTT-2.2.1-5]
345 open publish the same identifier again: a> PUBLISH1("t" 0001 {}) a< PUBACK(0001 5:10)
    a> PUBLISH1("t" 0001 {}) a< PUBACK(0001 5:10)  # [MQTT-4.3.2-5]
345 open publish three at once: a> PUBLISH1("t" 0003 {}) PUBLISH1("t" 0001 {}) PUBLISH1("t" 0002 {})
    a< PUBACK(0003 5:10) PUBACK(0001 5:10) PUBACK(0002 5:10)  # [MQTT-4.6.0-2]
345 open publish three of QoS 2 at once: a> PUBLISH2("t" 0003 {}) PUBLISH2("t" 0001 {}) PUBLISH2("t" 0002 {})
    a< PUBREC(0003) PUBREC(0001) PUBREC(0002)  # [MQTT-4.6.0-3]
345 open publish with DUP: a> DPUBLISH1("t" 0001 {}) a< PUBACK(0001 5:10)
345 open DUP does not travel on: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> DPUBLISH1("t" 0009 {} 'x')
    b< PUBACK(0009) a< PUBLISH1("t" 0001 {} 'x')  # [MQTT-3.3.1-3]
345 open a topic of one slash: a> SUBSCRIBE(0001 {} "/" 00) a< SUBACK(0001 {} 00) b> PUBLISH("/" {} 'x')
    a< PUBLISH("/" {} 'x')
345 open a topic with a space and empty levels: a> SUBSCRIBE(0001 {} "a b//+/" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("a b//c/" {} 'x') a< PUBLISH("a b//c/" {} 'x')
345 open topics differ by case: a> SUBSCRIBE(0001 {} "T" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" {} 'x')
    # [MQTT-3.3.2-3] [MQTT-4.7.3-4]
345 open topics are not normalised: a> SUBSCRIBE(0001 {} "\xe9" 00) a< SUBACK(0001 {} 00) b> PUBLISH("e\u0301" {} 'x')
    b> PUBLISH("\xe9" {} 'y') a< PUBLISH("\xe9" {} 'y')  # [MQTT-4.7.3-4]
345 open a topic with a byte order mark: a> SUBSCRIBE(0001 {} "\ufefft" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" {}) b> PUBLISH("\ufefft" {}) a< PUBLISH("\ufefft" {})  # [MQTT-1.5.4-3]
34 open  a message that looks like properties: a> SUBSCRIBE(0001 "t" 00) a< SUBACK(0001 00) b> PUBLISH("t" 02 01 01)
    a< PUBLISH("t" 02 01 01)
345 open $SYS is not for clients: a> PUBLISH1("$SYS/x" 0001 {} 'x') a< PUBACK(0001 5:87)  # [MQTT311-3.3.5-2]
345 open $SYS is not for clients at QoS 2: a> PUBLISH2("$SYS/x" 0001 {} 'x') a< PUBREC(0001 5:87)
"""

BAD: Final = r"""
345 closed QoS 3: a> 36("t" 0001 {} 'x') a< MALFORMED  # [MQTT-3.3.1-4] [MQTT-4.13.1-1]
45 closed  DUP at QoS 0: a> 38("t" {} 'x') a< MALFORMED  # [MQTT-3.3.1-2]
3 open     DUP at QoS 0 in 3.1: a> SUBSCRIBE(0001 "t" 00) a< SUBACK(0001 00) a> 38("t" 'x') a< PUBLISH("t" 'x')
345 closed control character in a topic: a> PUBLISH("a\x01" {} 'x') a< MALFORMED
345 closed control character beyond ASCII in a topic: a> PUBLISH("\x9f" {} 'x') a< MALFORMED
345 closed non-character in a topic: a> PUBLISH(0003 efbfbf {} 'x') a< MALFORMED
345 closed PUBLISH without a body: a> PUBLISH() a< MALFORMED
345 closed PUBLISH with half a length: a> PUBLISH(00) a< MALFORMED
345 closed topic longer than PUBLISH: a> PUBLISH(0002 't') a< MALFORMED  # [MQTT-3.3.2-1]
345 closed PUBLISH without its packet identifier: a> PUBLISH1("t") a< MALFORMED
345 closed PUBLISH with half a packet identifier: a> PUBLISH1("t" 00) a< MALFORMED
345 closed packet identifier 0 at QoS 1: a> PUBLISH1("t" 0000 {} 'x') a< PROTOCOL_ERROR  # [MQTT311-2.3.1-1]
345 closed packet identifier 0 at QoS 2: a> PUBLISH2("t" 0000 {} 'x') a< PROTOCOL_ERROR  # [MQTT311-2.3.1-1]
34 closed  empty topic: a> PUBLISH("" 'x')  # [MQTT-4.7.3-1]
5 closed   neither topic nor alias: a> PUBLISH("" {} 'x') a< PROTOCOL_ERROR  # [MQTT-4.7.3-1]
345 closed topic that is #: a> PUBLISH("#" {} 'x') a< MALFORMED  # [MQTT-3.3.2-2] [MQTT-4.7.0-1]
345 closed topic with +: a> PUBLISH("a/+" {} 'x') a< MALFORMED  # [MQTT-3.3.2-2] [MQTT-4.7.0-1]
345 closed topic with # within a level: a> PUBLISH("a#b" {} 'x') a< MALFORMED  # [MQTT-4.7.0-1]
345 closed topic with U+0000: a> PUBLISH("a\0" {} 'x') a< MALFORMED  # [MQTT-4.7.3-2]
345 closed topic that is not UTF-8: a> PUBLISH(0002 c328 {} 'x') a< MALFORMED  # [MQTT-1.5.4-1]
345 closed topic with a surrogate: a> PUBLISH(0003 edbfbf {} 'x') a< MALFORMED  # [MQTT-1.5.4-1]
345 closed topic that ends within a character: a> PUBLISH(0002 'a' c3 {} 'x') a< MALFORMED
345 closed bad PUBLISH at QoS 1 gets no PUBACK: a> PUBLISH1("+" 0001 {} 'x') a< MALFORMED
345 closed nothing after a bad PUBLISH: a> PUBLISH("#" {}) PINGREQ PUBLISH1("t" 0001 {}) a< MALFORMED
345 closed a bad PUBLISH reaches no one: a> 36("t" 0001 {} 'x') a< MALFORMED a:closed b> SUBSCRIBE(0001 {} "#" 00)
    b< SUBACK(0001 {} 00)
345 closed good packets before a bad one: a> PUBLISH1("t" 0001 {}) PINGREQ 36("t" 0001 {})
    a< PUBACK(0001 5:10) PINGRESP MALFORMED
345 closed remaining length of five bytes in PUBLISH: a> 30 ffffffff01 a< MALFORMED
5 closed   remaining length of PUBLISH in a longer form: a> 30 8400 "t" {} a< MALFORMED  # [MQTT-1.5.5-1]
34 open    remaining length of PUBLISH in a longer form: a> 32 858000 "t" 0001 PINGREQ a< PUBACK(0001) PINGRESP
345 closed PUBLISH above Maximum Packet Size: set:packet_bytes=200 A> CONNECT
    A< 3:CONNACK 5:CONNACK(00 00 { 22 0040 27 000000c8 21 0400 }) A> PUBLISH("t" {} 'x'*250) A< 5:DISCONNECT(95)
    # [MQTT-3.2.2-15]
345 open   PUBLISH of exactly Maximum Packet Size: set:packet_bytes=200 A> CONNECT
    A< 3:CONNACK 5:CONNACK(00 00 { 22 0040 27 000000c8 21 0400 }) A> PUBLISH("t" 3:00 {} 'x'*193)
5 closed   QoS above Maximum QoS: set:maximum_qos=1 A> CONNECT A< CONNACK(00 00 { CAPABILITIES 24 01 })
    A> PUBLISH2("t" 0001 {}) A< DISCONNECT(9b)  # [MQTT-3.2.2-11]
5 closed   RETAIN where it is not available: set:retain_available=0 A> CONNECT
    A< CONNACK(00 00 { 22 0040 25 00 21 0400 }) A> PUBLISHR("t" {} 'x') A< DISCONNECT(9a)  # [MQTT-3.2.2-14]
34 closed  RETAIN where it is not available: set:retain_available=0 a> PUBLISHR("t" 'x')
5 closed   more than Receive Maximum: set:receive_maximum=2 A> CONNECT A< CONNACK(00 00 { 22 0040 21 0002 })
    A> PUBLISH2("t" 0001 {}) PUBLISH2("t" 0002 {}) A< PUBREC(0001) PUBREC(0002)
    A> PUBLISH2("t" 0003 {}) A< DISCONNECT(93)  # [MQTT-3.3.4-7]
5 open     a repetition within Receive Maximum: set:receive_maximum=1 A> CONNECT A< CONNACK(00 00 { 22 0040 21 0001 })
    A> PUBLISH2("t" 0001 {}) A< PUBREC(0001) A> DPUBLISH2("t" 0001 {}) A< PUBREC(0001) A> PUBREL(0001)
    A< PUBCOMP(0001) A> PUBLISH2("t" 0002 {}) A< PUBREC(0002)  # [MQTT-4.3.3-10]
"""

# 5.0: what each property of PUBLISH may be, and that it travels on as it came.
PROPERTIES: Final = r"""
5 open   Payload Format Indicator travels on: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 01 01 } 'x') a< PUBLISH("t" { 01 01 } 'x')  # [MQTT-3.3.2-4]
5 open   Content Type travels on: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" { 03 "c/\xe9" } 'x')
    a< PUBLISH("t" { 03 "c/\xe9" } 'x')  # [MQTT-3.3.2-20]
5 open   Response Topic travels on: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" { 08 "r/1" } 'x')
    a< PUBLISH("t" { 08 "r/1" } 'x')  # [MQTT-3.3.2-15]
5 open   Correlation Data travels on: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 09 0003 00ff80 } 'x') a< PUBLISH("t" { 09 0003 00ff80 } 'x')  # [MQTT-3.3.2-16]
5 open   User Properties travel on in their order: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 26 "k" "2" 26 "k" "1" 26 "" "" 26 "k" "2" } 'x')
    a< PUBLISH("t" { 26 "k" "2" 26 "k" "1" 26 "" "" 26 "k" "2" } 'x')  # [MQTT-3.3.2-17] [MQTT-3.3.2-18]
5 open   Message Expiry Interval travels on: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 02 0000ffff } 'x') a< PUBLISH("t" { 02 0000ffff } 'x')  # [MQTT-3.3.2-6]
5 open   no property travels on to 3.1.1: a4> SUBSCRIBE(0001 "t" 00) a4< SUBACK(0001 00)
    b> PUBLISH("t" { 01 01 03 "c" 26 "k" "v" } 'x') a4< PUBLISH("t" 'x')
5 closed Payload Format Indicator 2: a> PUBLISH("t" { 01 02 } 'x') a< PROTOCOL_ERROR
5 closed Payload Format Indicator twice: a> PUBLISH("t" { 01 01 01 01 } 'x') a< PROTOCOL_ERROR
5 closed Message Expiry Interval twice: a> PUBLISH("t" { 02 00000001 02 00000001 } 'x') a< PROTOCOL_ERROR
5 closed Message Expiry Interval cut off: a> PUBLISH("t" { 02 000001 } 'x') a< MALFORMED
5 closed Content Type twice: a> PUBLISH("t" { 03 "c" 03 "c" } 'x') a< PROTOCOL_ERROR
5 closed Content Type that is not UTF-8: a> PUBLISH("t" { 03 0001 ff } 'x') a< MALFORMED  # [MQTT-3.3.2-19]
5 closed Content Type with U+0000: a> PUBLISH("t" { 03 "\0" } 'x') a< MALFORMED  # [MQTT-1.5.4-2]
5 closed Response Topic twice: a> PUBLISH("t" { 08 "r" 08 "r" } 'x') a< PROTOCOL_ERROR
5 closed Response Topic with +: a> PUBLISH("t" { 08 "r/+" } 'x') a< PROTOCOL_ERROR  # [MQTT-3.3.2-14]
5 closed Response Topic with #: a> PUBLISH("t" { 08 "#" } 'x') a< PROTOCOL_ERROR  # [MQTT-3.3.2-14]
5 closed Response Topic that is not UTF-8: a> PUBLISH("t" { 08 0001 ff } 'x') a< MALFORMED  # [MQTT-3.3.2-13]
5 closed Correlation Data twice: a> PUBLISH("t" { 09 "c" 09 "c" } 'x') a< PROTOCOL_ERROR
5 closed Correlation Data longer than the properties: a> PUBLISH("t" { 09 0002 ff } 'x') a< MALFORMED
5 closed User Property of PUBLISH without a value: a> PUBLISH("t" { 26 "k" } 'x') a< MALFORMED
5 closed User Property of PUBLISH that is not UTF-8: a> PUBLISH("t" { 26 "k" 0001 ff } 'x') a< MALFORMED
    # [MQTT-1.5.7-1]
5 closed Subscription Identifier from a client: a> PUBLISH("t" { 0b 01 } 'x') a< PROTOCOL_ERROR  # [MQTT-3.3.4-6]
5 closed PUBLISH with Session Expiry Interval: a> PUBLISH("t" { 11 00000001 } 'x') a< MALFORMED
5 closed PUBLISH with Will Delay Interval: a> PUBLISH("t" { 18 00000001 } 'x') a< MALFORMED
5 closed PUBLISH with Reason String: a> PUBLISH("t" { 1f "r" } 'x') a< MALFORMED
5 closed PUBLISH with Receive Maximum: a> PUBLISH("t" { 21 0001 } 'x') a< MALFORMED
5 closed PUBLISH with an unknown property: a> PUBLISH("t" { 05 00 } 'x') a< MALFORMED
5 closed PUBLISH without a property length: a> PUBLISH("t") a< MALFORMED
5 closed PUBLISH with properties longer than itself: a> PUBLISH("t" 05 0101) a< MALFORMED
5 closed property length of PUBLISH in a longer form: a> PUBLISH("t" 8000 'x') a< MALFORMED  # [MQTT-1.5.5-1]
5 closed property length of PUBLISH of five bytes: a> PUBLISH("t" 8080808001 'x') a< MALFORMED
"""

ALIASES: Final = r"""
5 open   topic alias: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" { 23 0001 } 'x')
    PUBLISH("" { 23 0001 } 'y') a< PUBLISH("t" {} 'x') PUBLISH("t" {} 'y')  # [MQTT-3.3.2-12]
5 open   topic alias of the maximum: a> PUBLISH1("t" 0001 { 23 0040 }) a< PUBACK(0001 10)
    a> PUBLISH1("" 0002 { 23 0040 }) a< PUBACK(0002 10)  # [MQTT-3.3.2-12]
5 open   topic alias with another topic: a> SUBSCRIBE(0001 {} "+" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 23 0001 } 'x') PUBLISH("u" { 23 0001 } 'y') PUBLISH("" { 23 0001 } 'z')
    a< PUBLISH("t" {} 'x') PUBLISH("u" {} 'y') PUBLISH("u" {} 'z')
5 open   topic alias among other properties: a> SUBSCRIBE(0001 {} "+" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" { 01 01 23 0001 26 "k" "v" } 'x') a< PUBLISH("t" { 01 01 26 "k" "v" } 'x')
5 closed topic alias 0: a> PUBLISH("t" { 23 0000 } 'x') a< DISCONNECT(94)  # [MQTT-3.3.2-8]
5 closed topic alias above the maximum: a> PUBLISH("t" { 23 0041 } 'x') a< DISCONNECT(94)  # [MQTT-3.3.2-9]
5 closed topic alias 65535 without a topic: a> PUBLISH("" { 23 ffff } 'x') a< DISCONNECT(94)  # [MQTT-3.3.2-9]
5 closed topic alias that was never set: a> PUBLISH("" { 23 0001 } 'x') a< PROTOCOL_ERROR
5 closed topic alias twice: a> PUBLISH("t" { 23 0001 23 0001 } 'x') a< PROTOCOL_ERROR
5 closed topic alias cut off: a> PUBLISH("t" { 23 01 } 'x') a< MALFORMED
5 closed topic alias of an earlier connection: A> CONNECT(PROTO 00 0000 { 17 00 11 000000ff } "a") A< CONNACK
    A> PUBLISH("t" { 23 0001 } 'x') DISCONNECT A:closed A> CONNECT(PROTO 00 0000 { 17 00 11 000000ff } "a") A< RESUMED
    A> PUBLISH("" { 23 0001 } 'x') A< PROTOCOL_ERROR  # [MQTT-3.3.2-7]
5 closed no topic alias where none is offered: set:topic_alias_maximum=0 A> CONNECT A< CONNACK(00 00 { 21 0400 })
    A> PUBLISH("t" { 23 0001 } 'x') A< DISCONNECT(94)  # [MQTT-3.3.2-9]
5 open   alias towards a client: A> CONNECT(PROTO 02 0000 { 22 0001 } "a") A< CONNACK
    A> SUBSCRIBE(0001 {} "+" 00) A< SUBACK(0001 {} 00)
    b> PUBLISH("topic" {} '1') PUBLISH("topic" {} '2') PUBLISH("other" {} '3')
    A< PUBLISH("topic" { 23 0001 } '1') PUBLISH("" { 23 0001 } '2') PUBLISH("other" {} '3')  # [MQTT-3.1.2-26]
5 open   no alias towards a client without a maximum: a> SUBSCRIBE(0001 {} "+" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("topic" {} '1') PUBLISH("topic" {} '2') a< PUBLISH("topic" {} '1') PUBLISH("topic" {} '2')
    # [MQTT-3.1.2-27]
"""

RETAIN: Final = r"""
345 open retained message for a new subscription: a> PUBLISHR("t" {} 'x') b> SUBSCRIBE(0001 {} "t" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("t" {} 'x')  # [MQTT-3.3.1-5] [MQTT-3.3.1-9]
345 open retained message at QoS 1: a> PUBLISH1R("t" 0001 {} 'x') a< PUBACK(0001 5:10) b> SUBSCRIBE(0001 {} "#" 02)
    b< SUBACK(0001 {} 02) PUBLISH1R("t" 0001 {} 'x') b> PUBACK(0001)
345 open retained message is replaced: a> PUBLISHR("t" {} 'x') PUBLISHR("t" {} 'y') b> SUBSCRIBE(0001 {} "t" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("t" {} 'y')  # [MQTT-3.3.1-5]
345 open retained message is removed: a> PUBLISHR("t" {} 'x') PUBLISHR("t" {}) b> SUBSCRIBE(0001 {} "t" 00)
    b< SUBACK(0001 {} 00)  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
345 open without RETAIN it stays as it is: a> PUBLISHR("t" {} 'x') PUBLISH("t" {} 'y') PUBLISH("t" {})
    b> SUBSCRIBE(0001 {} "t" 00) b< SUBACK(0001 {} 00) PUBLISHR("t" {} 'x')  # [MQTT-3.3.1-8]
345 open RETAIN is 0 on what is forwarded: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISHR("t" {} 'x')
    a< PUBLISH("t" {} 'x')  # [MQTT-3.3.1-12]
345 open an empty retained message is forwarded: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISHR("t" {})
    a< PUBLISH("t" {})
5 open   Retain As Published: a> SUBSCRIBE(0001 {} "t" 08) a< SUBACK(0001 {} 00) b> PUBLISHR("t" {} 'x')
    PUBLISH("t" {} 'y') a< PUBLISHR("t" {} 'x') PUBLISH("t" {} 'y')  # [MQTT-3.3.1-13]
345 open the same subscription again gets it again: a> PUBLISHR("t" {} 'x') b> SUBSCRIBE(0001 {} "t" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("t" {} 'x') b> SUBSCRIBE(0002 {} "t" 00) b< SUBACK(0002 {} 00) PUBLISHR("t" {} 'x')
    # [MQTT-3.8.4-4]
5 open   Retain Handling 1: a> PUBLISHR("t" {} 'x') b> SUBSCRIBE(0001 {} "t" 10) b< SUBACK(0001 {} 00)
    PUBLISHR("t" {} 'x') b> SUBSCRIBE(0002 {} "t" 10) b< SUBACK(0002 {} 00)  # [MQTT-3.3.1-10]
5 open   Retain Handling 2: a> PUBLISHR("t" {} 'x') b> SUBSCRIBE(0001 {} "t" 20) b< SUBACK(0001 {} 00)
    # [MQTT-3.3.1-11]
5 open   retained messages and a shared subscription: a> PUBLISHR("t" {} 'x') b> SUBSCRIBE(0001 {} "$share/g/t" 00)
    b< SUBACK(0001 {} 00)
5 open   retained message with properties: a> PUBLISHR("t" { 01 01 03 "c" } 'x') b> SUBSCRIBE(0001 { 0b 07 } "t" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("t" { 0b 07 01 01 03 "c" } 'x')
5 open   retained message that expires: a> PUBLISHR("t" { 02 00000005 } 'x') wait:2 b> SUBSCRIBE(0001 {} "t" 00)
    b< SUBACK(0001 {} 00) PUBLISHR("t" { 02 00000003 } 'x') wait:4 b> SUBSCRIBE(0002 {} "t" 00) b< SUBACK(0002 {} 00)
    # [MQTT-3.3.2-5] [MQTT-3.3.2-6]
"""
