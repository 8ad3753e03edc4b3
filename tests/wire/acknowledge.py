"""Wire table: PUBACK, PUBREC, PUBREL and PUBCOMP. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

GOOD: Final = r"""
345 open PUBACK for a delivery: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH1("t" 0007 {} 'x')
    b< PUBACK(0007) a< PUBLISH1("t" 0001 {} 'x') a> PUBACK(0001)  # [MQTT-4.3.2-1] [MQTT-4.3.2-2]
345 open QoS 2 to the end: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0007 {} 'x')
    b< PUBREC(0007) a< PUBLISH2("t" 0001 {} 'x') b> PUBREL(0007) b< PUBCOMP(0007) a> PUBREC(0001) a< PUBREL(0001)
    a> PUBCOMP(0001)  # [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-4]
345 open the lower of the two QoS, 1: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH2("t" 0007 {} 'x')
    b< PUBREC(0007) a< PUBLISH1("t" 0001 {} 'x')  # [MQTT-3.8.4-8]
345 open the lower of the two QoS, 0: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH("t" {} 'x')
    a< PUBLISH("t" {} 'x')  # [MQTT-3.8.4-8]
345 open PUBREC again gets PUBREL again: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0007 {} 'x')
    b< PUBREC(0007) a< PUBLISH2("t" 0001 {} 'x') a> PUBREC(0001) a< PUBREL(0001) a> PUBREC(0001) a< PUBREL(0001)
    a> PUBCOMP(0001)
345 open QoS 2 twice is delivered once: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH2("t" 0007 {} 'x')
    b< PUBREC(0007) b> DPUBLISH2("t" 0007 {} 'x') b< PUBREC(0007) a< PUBLISH("t" {} 'x') b> PUBREL(0007)
    b< PUBCOMP(0007)  # [MQTT-4.3.3-10]
345 open after PUBCOMP it is a new message: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH2("t" 0007 {} 'x') b< PUBREC(0007) b> PUBREL(0007) b< PUBCOMP(0007) b> PUBLISH2("t" 0007 {} 'x')
    b< PUBREC(0007) a< PUBLISH("t" {} 'x') PUBLISH("t" {} 'x')  # [MQTT-4.3.3-12]
345 open PUBRELs in another order: a> PUBLISH2("t" 0001 {}) PUBLISH2("t" 0002 {}) a< PUBREC(0001) PUBREC(0002)
    a> PUBREL(0002) PUBREL(0001) a< PUBCOMP(0002) PUBCOMP(0001)
345 open PUBRELs go in the order of the PUBRECs: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02)
    b> PUBLISH2("t" 0001 {} 'x') PUBLISH2("t" 0002 {} 'y') b< PUBREC(0001) PUBREC(0002)
    a< PUBLISH2("t" 0001 {} 'x') PUBLISH2("t" 0002 {} 'y') a> PUBREC(0002) PUBREC(0001) a< PUBREL(0002) PUBREL(0001)
    # [MQTT-4.6.0-4]
5 open   PUBACK in its long forms: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01)
    b> PUBLISH1("t" 0001 {}) PUBLISH1("t" 0002 {}) PUBLISH1("t" 0003 {}) b< PUBACK(0001) PUBACK(0002) PUBACK(0003)
    a< PUBLISH1("t" 0001 {}) PUBLISH1("t" 0002 {}) PUBLISH1("t" 0003 {})
    a> PUBACK(0001 00) PUBACK(0002 10 00) PUBACK(0003 00 { 1f "r" 26 "k" "v" 26 "k" "v" })
5 open   PUBREC, PUBREL and PUBCOMP in their long forms: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02)
    b> PUBLISH2("t" 0001 {}) b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> PUBREC(0001 00 { 1f "r" 26 "k" "v" })
    a< PUBREL(0001) a> PUBCOMP(0001 00 { 1f "r" 26 "k" "v" }) b> PUBREL(0001 00 { 1f "r" 26 "k" "v" }) b< PUBCOMP(0001)
5 open   PUBACK that refuses: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {})
    b< PUBACK(0001) a< PUBLISH1("t" 0001 {}) a> PUBACK(0001 97)  # [MQTT-4.4.0-2]
5 open   PUBREC that refuses: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {})
    b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> PUBREC(0001 80) b> PUBLISH2("t" 0002 {}) b< PUBREC(0002)
    a< PUBLISH2("t" 0002 {})  # [MQTT-4.4.0-2]
5 open   PUBCOMP that knows no identifier: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {})
    b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> PUBREC(0001) a< PUBREL(0001) a> PUBCOMP(0001 92)
5 open   PUBREL that knows no identifier: a> PUBLISH2("t" 0001 {}) a< PUBREC(0001) a> PUBREL(0001 92)
    a< PUBCOMP(0001)
"""

UNKNOWN: Final = r"""
345 open PUBACK for nothing: a> PUBACK(0001) PINGREQ a< PINGRESP
345 open PUBCOMP for nothing: a> PUBCOMP(0001) PINGREQ a< PINGRESP
345 open PUBREC for nothing: a> PUBREC(0001) a< PUBREL(0001 5:92)
345 open PUBREL for nothing: a> PUBREL(0001) a< PUBCOMP(0001 5:92)
345 open PUBREL twice: a> PUBLISH2("t" 0001 {}) a< PUBREC(0001) a> PUBREL(0001) a< PUBCOMP(0001) a> PUBREL(0001)
    a< PUBCOMP(0001 5:92)
345 open PUBACK twice: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {}) b< PUBACK(0001)
    a< PUBLISH1("t" 0001 {}) a> PUBACK(0001) PUBACK(0001) PINGREQ a< PINGRESP
5 open   PUBREC that refuses, for nothing: a> PUBREC(0001 80) PUBREC(0001 97 {}) PINGREQ a< PINGRESP  # [MQTT-4.3.3-4]
345 closed PUBACK for QoS 2: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {}) b< PUBREC(0001)
    a< PUBLISH2("t" 0001 {}) a> PUBACK(0001) a< PROTOCOL_ERROR  # [MQTT-4.3.3-3]
345 closed PUBREC for QoS 1: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {}) b< PUBACK(0001)
    a< PUBLISH1("t" 0001 {}) a> PUBREC(0001) a< PROTOCOL_ERROR
345 closed PUBCOMP for QoS 1: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01) b> PUBLISH1("t" 0001 {})
    b< PUBACK(0001) a< PUBLISH1("t" 0001 {}) a> PUBCOMP(0001) a< PROTOCOL_ERROR
345 closed PUBCOMP before PUBREC: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {})
    b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> PUBCOMP(0001) a< PROTOCOL_ERROR
345 closed PUBACK after PUBREC: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) b> PUBLISH2("t" 0001 {})
    b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> PUBREC(0001) a< PUBREL(0001) a> PUBACK(0001) a< PROTOCOL_ERROR
"""

BAD: Final = r"""
345 closed PUBACK without a body: a> PUBACK() a< MALFORMED
345 closed PUBACK with half an identifier: a> PUBACK(00) a< MALFORMED
345 closed PUBACK 0: a> PUBACK(0000) a< PROTOCOL_ERROR
34 closed  PUBACK with a reason code: a> PUBACK(0001 00)
45 closed  PUBACK with flags: a> 42(0001) a< MALFORMED  # [MQTT-2.1.3-1]
3 open     PUBACK with flags in 3.1: a> 42(0001) PINGREQ a< PINGRESP
5 closed   PUBACK with an unknown reason code: a> PUBACK(0001 11) a< MALFORMED  # [MQTT-3.4.2-1]
5 closed   PUBACK with the reason code of PUBREL: a> PUBACK(0001 92) a< MALFORMED  # [MQTT-3.4.2-1]
5 closed   PUBACK with half its properties: a> PUBACK(0001 00 05 1f) a< MALFORMED
5 closed   PUBACK with bytes after its end: a> PUBACK(0001 00 {} 00) a< MALFORMED
5 closed   PUBACK with two Reason Strings: a> PUBACK(0001 00 { 1f "r" 1f "r" }) a< PROTOCOL_ERROR
5 closed   PUBACK with Content Type: a> PUBACK(0001 00 { 03 "c" }) a< MALFORMED
345 closed PUBREC without a body: a> PUBREC() a< MALFORMED
345 closed PUBREC 0: a> PUBREC(0000) a< PROTOCOL_ERROR
34 closed  PUBREC with a reason code: a> PUBREC(0001 00)
45 closed  PUBREC with flags: a> 52(0001) a< MALFORMED  # [MQTT-2.1.3-1]
5 closed   PUBREC with the reason code of PUBCOMP: a> PUBREC(0001 92) a< MALFORMED  # [MQTT-3.5.2-1]
5 closed   PUBREC with two Reason Strings: a> PUBREC(0001 00 { 1f "r" 1f "r" }) a< PROTOCOL_ERROR
5 closed   PUBREC with Topic Alias: a> PUBREC(0001 00 { 23 0001 }) a< MALFORMED
345 closed PUBREL without a body: a> PUBREL() a< MALFORMED
345 closed PUBREL 0: a> PUBREL(0000) a< PROTOCOL_ERROR
34 closed  PUBREL with a reason code: a> PUBREL(0001 00)
45 closed  PUBREL without its flags: a> 60(0001) a< MALFORMED  # [MQTT-3.6.1-1]
45 closed  PUBREL with DUP: a> 6a(0001) a< MALFORMED  # [MQTT-3.6.1-1]
3 open     PUBREL with DUP in 3.1: a> PUBLISH2("t" 0001) a< PUBREC(0001) a> 6a(0001) a< PUBCOMP(0001)
5 closed   PUBREL with the reason code of PUBREC: a> PUBREL(0001 80) a< MALFORMED  # [MQTT-3.6.2-1]
5 closed   PUBREL with a Reason String that is not UTF-8: a> PUBREL(0001 00 { 1f 0001 ff }) a< MALFORMED
345 closed PUBCOMP without a body: a> PUBCOMP() a< MALFORMED
345 closed PUBCOMP 0: a> PUBCOMP(0000) a< PROTOCOL_ERROR
34 closed  PUBCOMP with a reason code: a> PUBCOMP(0001 00)
45 closed  PUBCOMP with flags: a> 72(0001) a< MALFORMED  # [MQTT-2.1.3-1]
5 closed   PUBCOMP with the reason code of PUBACK: a> PUBCOMP(0001 10) a< MALFORMED  # [MQTT-3.7.2-1]
5 closed   PUBCOMP with Reason String of a length beyond it: a> PUBCOMP(0001 00 { 1f 0005 'r' }) a< MALFORMED
"""
