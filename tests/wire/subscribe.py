"""Wire table: SUBSCRIBE, UNSUBSCRIBE, what filters match, shared subscriptions. The notation is told in notation.py."""

from __future__ import annotations

from typing import Final

GOOD: Final = r"""
345 open subscribe at QoS 0: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)  # [MQTT-3.8.4-1] [MQTT-3.8.4-2]
345 open subscribe at QoS 1: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01)  # [MQTT-3.8.4-7]
345 open subscribe at QoS 2: a> SUBSCRIBE(ffff {} "t" 02) a< SUBACK(ffff {} 02)  # [MQTT-2.2.1-6]
345 open several filters: a> SUBSCRIBE(0001 {} "a" 02 "b/#" 00 "+/c" 01) a< SUBACK(0001 {} 02 00 01)
    # [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1]
345 open the same filter twice in one packet: a> SUBSCRIBE(0001 {} "t" 02 "t" 00) a< SUBACK(0001 {} 02 00)
    b> PUBLISH1("t" 0001 {} 'x') b< PUBACK(0001) a< PUBLISH("t" {} 'x')  # [MQTT-3.8.4-5]
345 open the same filter again replaces: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02)
    a> SUBSCRIBE(0002 {} "t" 00) a< SUBACK(0002 {} 00) b> PUBLISH1("t" 0001 {} 'x') b< PUBACK(0001)
    a< PUBLISH("t" {} 'x')  # [MQTT-3.8.4-3]
345 open a filter of 65,535 bytes: a> SUBSCRIBE(0001 {} "x"*65535 00) a< SUBACK(0001 {} 00)  # [MQTT-4.7.3-3]
5 open   all subscription options: a> SUBSCRIBE(0001 {} "t" 2e) a< SUBACK(0001 {} 02)
5 open   all properties of SUBSCRIBE: a> SUBSCRIBE(0001 { 0b ffffff7f 26 "k" "v" 26 "k" "v" } "t" 00)
    a< SUBACK(0001 {} 00)
345 open unsubscribe: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) a> UNSUBSCRIBE(0002 {} "t")
    a< UNSUBACK(0002 {} 5:00) b> PUBLISH("t" {} 'x')  # [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4]
345 open unsubscribe from nothing: a> UNSUBSCRIBE(0001 {} "t") a< UNSUBACK(0001 {} 5:11)  # [MQTT-3.10.4-5]
345 open unsubscribe from several: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
    a> UNSUBSCRIBE(0002 {} "a" "t" "t") a< UNSUBACK(0002 {} 5:11 5:00 5:11)
345 open unsubscribe compares filters as they are: a> SUBSCRIBE(0001 {} "a/+" 00) a< SUBACK(0001 {} 00)
    a> UNSUBSCRIBE(0002 {} "a/b" "a/#") a< UNSUBACK(0002 {} 5:1111) b> PUBLISH("a/b" {} 'x') a< PUBLISH("a/b" {} 'x')
    # [MQTT-3.10.4-1]
5 open   properties of UNSUBSCRIBE: a> UNSUBSCRIBE(0001 { 26 "k" "v" 26 "k" "v" } "t") a< UNSUBACK(0001 {} 11)
345 open what was sent is still completed: a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02)
    b> PUBLISH2("t" 0001 {}) b< PUBREC(0001) a< PUBLISH2("t" 0001 {}) a> UNSUBSCRIBE(0002 {} "t")
    a< UNSUBACK(0002 {} 5:00) a> PUBREC(0001) a< PUBREL(0001) a> PUBCOMP(0001)  # [MQTT-3.10.4-3]
3 open   SUBSCRIBE with DUP in 3.1: a> 8a(0001 "t" 00) a< SUBACK(0001 00)
3 open   UNSUBSCRIBE with DUP in 3.1: a> aa(0001 "t") a< UNSUBACK(0001)
5 open   granted QoS under a lower Maximum QoS: set:maximum_qos=0 A> CONNECT A< CONNACK(00 00 { CAPABILITIES 24 00 })
    A> SUBSCRIBE(0001 {} "a" 02 "b" 01) A< SUBACK(0001 {} 00 00)  # [MQTT-3.2.2-10]
34 open  granted QoS under a lower Maximum QoS: set:maximum_qos=1 a> SUBSCRIBE(0001 {} "a" 02 "b" 00)
    a< SUBACK(0001 {} 01 00)  # [MQTT-3.8.4-7]
5 open   wildcards where they are not available: set:wildcard_subscription_available=0 A> CONNECT
    A< CONNACK(00 00 { 22 0040 28 00 21 0400 }) A> SUBSCRIBE(0001 {} "a/#" 00 "b" 00 "+" 00) A< SUBACK(0001 {} a2 00 a2)
34 open  wildcards where they are not available: set:wildcard_subscription_available=0
    a> SUBSCRIBE(0001 "a/#" 00 "b" 00) a< SUBACK(0001 80 00)  # [MQTT311-3.8.3-2] [MQTT311-3.9.3-2]
5 open   shares where they are not available: set:shared_subscription_available=0 A> CONNECT
    A< CONNACK(00 00 { 22 0040 2a 00 21 0400 }) A> SUBSCRIBE(0001 {} "$share/g/t" 00) A< SUBACK(0001 {} 9e)
5 closed Subscription Identifiers where they are not available: set:subscription_identifier_available=0 A> CONNECT
    A< CONNACK(00 00 { 22 0040 29 00 21 0400 }) A> SUBSCRIBE(0001 { 0b 01 } "t" 00) A< DISCONNECT(a1)
345 open more subscriptions than allowed: set:subscriptions=1 a> SUBSCRIBE(0001 {} "a" 00 "b" 00 "a" 01)
    a< SUBACK(0001 {} 00 5:97 3:80 01)
"""

BAD: Final = r"""
345 closed SUBSCRIBE without a body: a> SUBSCRIBE() a< MALFORMED
345 closed SUBSCRIBE with identifier 0: a> SUBSCRIBE(0000 {} "t" 00) a< PROTOCOL_ERROR  # [MQTT311-2.3.1-1]
345 closed SUBSCRIBE without a filter: a> SUBSCRIBE(0001 {}) a< PROTOCOL_ERROR  # [MQTT-3.8.3-2]
5 closed   SUBSCRIBE without properties: a> SUBSCRIBE(0001) a< MALFORMED
345 closed SUBSCRIBE without options: a> SUBSCRIBE(0001 {} "t") a< MALFORMED  # [MQTT-3.8.3-2]
345 closed SUBSCRIBE without options for its second filter: a> SUBSCRIBE(0001 {} "a" 00 "b") a< MALFORMED
345 closed filter longer than SUBSCRIBE: a> SUBSCRIBE(0001 {} 0005 't' 00) a< MALFORMED
345 closed half a length in SUBSCRIBE: a> SUBSCRIBE(0001 {} "a" 00 00) a< MALFORMED
45 closed  SUBSCRIBE without its flags: a> 80(0001 {} "t" 00) a< MALFORMED  # [MQTT-3.8.1-1]
45 closed  SUBSCRIBE with DUP: a> 8a(0001 {} "t" 00) a< MALFORMED  # [MQTT-3.8.1-1]
3 open     unused bits of the requested QoS in 3.1: a> 8f(0001 "t" fd) a< SUBACK(0001 01)
34 closed  requested QoS 3: a> SUBSCRIBE(0001 "t" 03)  # [MQTT311-3-8.3-4]
4 closed   reserved bits of the requested QoS: a> SUBSCRIBE(0001 "t" 04)  # [MQTT311-3-8.3-4]
4 closed   the highest reserved bit: a> SUBSCRIBE(0001 "t" 81)  # [MQTT311-3-8.3-4]
5 closed   maximum QoS 3: a> SUBSCRIBE(0001 {} "t" 03) a< PROTOCOL_ERROR
5 closed   Retain Handling 3: a> SUBSCRIBE(0001 {} "t" 30) a< PROTOCOL_ERROR
5 closed   reserved bit 6 of the subscription options: a> SUBSCRIBE(0001 {} "t" 40) a< MALFORMED  # [MQTT-3.8.3-5]
5 closed   reserved bit 7 of the subscription options: a> SUBSCRIBE(0001 {} "t" 80) a< MALFORMED  # [MQTT-3.8.3-5]
5 closed   No Local on a shared subscription: a> SUBSCRIBE(0001 {} "$share/g/t" 04) a< PROTOCOL_ERROR  # [MQTT-3.8.3-4]
345 closed empty filter: a> SUBSCRIBE(0001 {} "" 00) a< MALFORMED  # [MQTT-4.7.3-1]
345 closed filter that is not UTF-8: a> SUBSCRIBE(0001 {} 0001 ff 00) a< MALFORMED  # [MQTT-3.8.3-1]
345 closed filter with U+0000: a> SUBSCRIBE(0001 {} "\0" 00) a< MALFORMED  # [MQTT-4.7.3-2]
345 closed something behind #: a> SUBSCRIBE(0001 {} "a/#/b" 00) a< MALFORMED  # [MQTT-4.7.1-1]
345 closed something before #: a> SUBSCRIBE(0001 {} "a#" 00) a< MALFORMED  # [MQTT-4.7.1-1]
345 closed something beside +: a> SUBSCRIBE(0001 {} "a/b+/c" 00) a< MALFORMED  # [MQTT-4.7.1-2]
345 closed two +: a> SUBSCRIBE(0001 {} "++" 00) a< MALFORMED  # [MQTT-4.7.1-2]
5 closed   share without a filter: a> SUBSCRIBE(0001 {} "$share/g" 00) a< MALFORMED  # [MQTT-4.8.2-2]
5 closed   share with an empty filter: a> SUBSCRIBE(0001 {} "$share/g/" 00) a< MALFORMED  # [MQTT-4.8.2-2]
5 closed   share without a name: a> SUBSCRIBE(0001 {} "$share//t" 00) a< MALFORMED  # [MQTT-4.8.2-1]
5 closed   share name with +: a> SUBSCRIBE(0001 {} "$share/g+/t" 00) a< MALFORMED  # [MQTT-4.8.2-2]
5 closed   share name with #: a> SUBSCRIBE(0001 {} "$share/#/t" 00) a< MALFORMED  # [MQTT-4.8.2-2]
5 closed   Subscription Identifier 0: a> SUBSCRIBE(0001 { 0b 00 } "t" 00) a< PROTOCOL_ERROR
5 closed   two Subscription Identifiers: a> SUBSCRIBE(0001 { 0b 01 0b 02 } "t" 00) a< PROTOCOL_ERROR
5 closed   Subscription Identifier of five bytes: a> SUBSCRIBE(0001 { 0b 8080808001 } "t" 00) a< MALFORMED
5 closed   Subscription Identifier in a longer form: a> SUBSCRIBE(0001 { 0b 8100 } "t" 00) a< MALFORMED
    # [MQTT-1.5.5-1]
5 closed   SUBSCRIBE with Reason String: a> SUBSCRIBE(0001 { 1f "r" } "t" 00) a< MALFORMED
5 closed   SUBSCRIBE with Topic Alias: a> SUBSCRIBE(0001 { 23 0001 } "t" 00) a< MALFORMED
5 closed   properties longer than SUBSCRIBE: a> SUBSCRIBE(0001 7f "t" 00) a< MALFORMED
345 closed UNSUBSCRIBE without a body: a> UNSUBSCRIBE() a< MALFORMED
345 closed UNSUBSCRIBE with identifier 0: a> UNSUBSCRIBE(0000 {} "t") a< PROTOCOL_ERROR  # [MQTT311-2.3.1-1]
345 closed UNSUBSCRIBE without a filter: a> UNSUBSCRIBE(0001 {}) a< PROTOCOL_ERROR  # [MQTT-3.10.3-2]
345 closed filter longer than UNSUBSCRIBE: a> UNSUBSCRIBE(0001 {} 0002 't') a< MALFORMED
345 closed bytes after the end of UNSUBSCRIBE: a> UNSUBSCRIBE(0001 {} "t" 00) a< MALFORMED
45 closed  UNSUBSCRIBE without its flags: a> a0(0001 {} "t") a< MALFORMED  # [MQTT-3.10.1-1]
345 closed UNSUBSCRIBE from what is not UTF-8: a> UNSUBSCRIBE(0001 {} 0001 ff) a< MALFORMED  # [MQTT-3.10.3-1]
345 closed UNSUBSCRIBE with U+0000: a> UNSUBSCRIBE(0001 {} "\0") a< MALFORMED  # [MQTT-4.7.3-2]
345 closed UNSUBSCRIBE from an empty filter: a> UNSUBSCRIBE(0001 {} "") a< MALFORMED  # [MQTT-4.7.3-1]
345 closed UNSUBSCRIBE from a filter that is none: a> UNSUBSCRIBE(0001 {} "a#") a< MALFORMED  # [MQTT-4.7.1-1]
5 closed   UNSUBSCRIBE with Subscription Identifier: a> UNSUBSCRIBE(0001 { 0b 01 } "t") a< MALFORMED
"""

MATCHING: Final = r"""
345 open # matches all levels and the parent: a> SUBSCRIBE(0001 {} "a/#" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("a" {}) PUBLISH("a/b" {}) PUBLISH("a/b/c" {}) PUBLISH("b" {}) PUBLISH("ab" {})
    a< PUBLISH("a" {}) PUBLISH("a/b" {}) PUBLISH("a/b/c" {})
345 open + matches one level: a> SUBSCRIBE(0001 {} "a/+" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("a" {}) PUBLISH("a/" {}) PUBLISH("a/b" {}) PUBLISH("a/b/c" {}) a< PUBLISH("a/" {}) PUBLISH("a/b" {})
345 open +/+ and /+ match /finance, + does not: a> SUBSCRIBE(0001 {} "+" 00) a< SUBACK(0001 {} 00)
    b> SUBSCRIBE(0001 {} "+/+" 00) b< SUBACK(0001 {} 00) c> SUBSCRIBE(0001 {} "/+" 00) c< SUBACK(0001 {} 00)
    d> PUBLISH("/finance" {}) b< PUBLISH("/finance" {}) c< PUBLISH("/finance" {})
345 open # does not match $ topics: a> SUBSCRIBE(0001 {} "#" 00 "+/x" 00) a< SUBACK(0001 {} 00 00)
    b> PUBLISH("$other/x" {})  # [MQTT-4.7.2-1]
345 open a filter that begins with $ matches them: a> SUBSCRIBE(0001 {} "$other/#" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("$other/x" {}) a< PUBLISH("$other/x" {})  # [MQTT-4.7.2-1]
345 open retained $ topics are not for #: a> PUBLISHR("$other/x" {} 'x') b> SUBSCRIBE(0001 {} "#" 00 "+/x" 00)
    b< SUBACK(0001 {} 00 00)  # [MQTT-4.7.2-1]
5 open   # within a share does not match $ topics: a> SUBSCRIBE(0001 {} "$share/g/#" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("$other/x" {})  # [MQTT-4.7.2-1]
345 open all subscribers get it: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) b> SUBSCRIBE(0001 {} "#" 00)
    b< SUBACK(0001 {} 00) c> PUBLISH("t" {} 'x') a< PUBLISH("t" {} 'x') b< PUBLISH("t" {} 'x')  # [MQTT-4.5.0-1]
345 open subscribers of all versions get it: a3> SUBSCRIBE(0001 {} "t" 01) a3< SUBACK(0001 {} 01)
    a4> SUBSCRIBE(0001 {} "t" 01) a4< SUBACK(0001 {} 01) a5> SUBSCRIBE(0001 {} "t" 01) a5< SUBACK(0001 {} 01)
    b> PUBLISH1("t" 0001 {} 'x') b< PUBACK(0001) a3< PUBLISH1("t" 0001 {} 'x') a4< PUBLISH1("t" 0001 {} 'x')
    a5< PUBLISH1("t" 0001 {} 'x')  # [MQTT-4.5.0-1]
5 open   Subscription Identifier: a> SUBSCRIBE(0001 { 0b 8001 } "t" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" {} 'x')
    a< PUBLISH("t" { 0b 8001 } 'x')  # [MQTT-3.3.4-3]
5 open   Subscription Identifier is replaced: a> SUBSCRIBE(0001 { 0b 01 } "t" 00) a< SUBACK(0001 {} 00)
    a> SUBSCRIBE(0002 { 0b 02 } "t" 00) a< SUBACK(0002 {} 00) b> PUBLISH("t" {} 'x') a< PUBLISH("t" { 0b 02 } 'x')
    # [MQTT-3.8.4-3]
5 open   Subscription Identifier is taken away: a> SUBSCRIBE(0001 { 0b 01 } "t" 00) a< SUBACK(0001 {} 00)
    a> SUBSCRIBE(0002 {} "t" 00) a< SUBACK(0002 {} 00) b> PUBLISH("t" {} 'x') a< PUBLISH("t" {} 'x')  # [MQTT-3.8.4-3]
5 open   No Local: a> SUBSCRIBE(0001 {} "t" 04) a< SUBACK(0001 {} 00) a> PUBLISH("t" {} 'x') b> PUBLISH("t" {} 'y')
    a< PUBLISH("t" {} 'y')  # [MQTT-3.8.3-3]
5 open   No Local at QoS 1: a> SUBSCRIBE(0001 {} "t" 05) a< SUBACK(0001 {} 01) a> PUBLISH1("t" 0001 {} 'x')
    a< PUBACK(0001) b> PUBLISH1("t" 0001 {} 'y') b< PUBACK(0001) a< PUBLISH1("t" 0001 {} 'y')  # [MQTT-3.8.3-3]
345 open without No Local: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00) a> PUBLISH("t" {} 'x')
    a< PUBLISH("t" {} 'x')
345 open order at QoS 1: a> SUBSCRIBE(0001 {} "t" 01) a< SUBACK(0001 {} 01)
    b> PUBLISH1("t" 0003 {} '1') PUBLISH1("t" 0002 {} '2') PUBLISH1("t" 0001 {} '3')
    b< PUBACK(0003) PUBACK(0002) PUBACK(0001)
    a< PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2') PUBLISH1("t" 0003 {} '3')  # [MQTT-4.6.0-5] [MQTT-4.6.0-6]
345 open order at QoS 0: a> SUBSCRIBE(0001 {} "+" 00) a< SUBACK(0001 {} 00) b> PUBLISH("t" {} '1') PUBLISH("u" {} '2')
    PUBLISH("t" {} '3') a< PUBLISH("t" {} '1') PUBLISH("u" {} '2') PUBLISH("t" {} '3')  # [MQTT-4.6.0-5]
"""

SHARED: Final = r"""
5 open   a share of one: a> SUBSCRIBE(0001 {} "$share/g/t" 01) a< SUBACK(0001 {} 01) b> PUBLISH("t" {} 'x')
    a< PUBLISH("t" {} 'x')
5 open   members in turn: a> SUBSCRIBE(0001 {} "$share/g/t" 00) a< SUBACK(0001 {} 00)
    b> SUBSCRIBE(0001 {} "$share/g/t" 00)
    b< SUBACK(0001 {} 00) c> PUBLISH("t" {} '1') PUBLISH("t" {} '2') PUBLISH("t" {} '3') PUBLISH("t" {} '4')
    a< PUBLISH("t" {} '1') PUBLISH("t" {} '3') b< PUBLISH("t" {} '2') PUBLISH("t" {} '4')
5 open   two shares are two: a> SUBSCRIBE(0001 {} "$share/g/t" 00) a< SUBACK(0001 {} 00)
    b> SUBSCRIBE(0001 {} "$share/h/t" 00) b< SUBACK(0001 {} 00) c> PUBLISH("t" {} 'x') a< PUBLISH("t" {} 'x')
    b< PUBLISH("t" {} 'x')
5 open   each member at its own QoS: a> SUBSCRIBE(0001 {} "$share/g/t" 00) a< SUBACK(0001 {} 00)
    b> SUBSCRIBE(0001 {} "$share/g/t" 01) b< SUBACK(0001 {} 01) c> PUBLISH1("t" 0001 {} '1') PUBLISH1("t" 0002 {} '2')
    c< PUBACK(0001) PUBACK(0002) a< PUBLISH("t" {} '1') b< PUBLISH1("t" 0001 {} '2')  # [MQTT-4.8.2-3]
5 open   a share and a subscription of one client: a> SUBSCRIBE(0001 { 0b 01 } "$share/g/t" 00) a< SUBACK(0001 {} 00)
    a> UNSUBSCRIBE(0002 {} "t") a< UNSUBACK(0002 {} 11) a> UNSUBSCRIBE(0003 {} "$share/g/t") a< UNSUBACK(0003 {} 00)
    b> PUBLISH("t" {} 'x')  # [MQTT-3.10.4-1]
5 open   a member that is gone: a> SUBSCRIBE(0001 {} "$share/g/t" 01) a< SUBACK(0001 {} 01)
    b> SUBSCRIBE(0001 {} "$share/g/t" 01) b< SUBACK(0001 {} 01) c> PUBLISH1("t" 0001 {} '1') c< PUBACK(0001)
    a< PUBLISH1("t" 0001 {} '1') a:drops b< PUBLISH1("t" 0001 {} '1') b> PUBACK(0001)
5 open   a member that refuses: a> SUBSCRIBE(0001 {} "$share/g/t" 01) a< SUBACK(0001 {} 01)
    b> SUBSCRIBE(0001 {} "$share/g/t" 01) b< SUBACK(0001 {} 01) c> PUBLISH1("t" 0001 {} '1') c< PUBACK(0001)
    a< PUBLISH1("t" 0001 {} '1') a> PUBACK(0001 80)  # [MQTT-4.8.2-6]
5 open   QoS 2 goes to no other member: a> SUBSCRIBE(0001 {} "$share/g/t" 02) a< SUBACK(0001 {} 02)
    b> SUBSCRIBE(0001 {} "$share/g/t" 02) b< SUBACK(0001 {} 02) c> PUBLISH2("t" 0001 {} '1') c< PUBREC(0001)
    a< PUBLISH2("t" 0001 {} '1') a:drops  # [MQTT-4.8.2-5]
5 open   Subscription Identifier of a share: a> SUBSCRIBE(0001 { 0b 05 } "$share/g/t" 00) a< SUBACK(0001 {} 00)
    b> PUBLISH("t" {} 'x') a< PUBLISH("t" { 0b 05 } 'x')  # [MQTT-3.3.4-5]
"""
