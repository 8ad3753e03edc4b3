"""Wire table: faults that are answered as mosquitto does, where a mosquitto.conf asks for that. See notation.py."""

from __future__ import annotations

from typing import Final

CONNECTING: Final = r"""
34 closed a version that there is not, mosquitto: set:like_mosquitto=1
    A> CONNECT("MQTT" 02 02 0000 "a") A< CONNACK(00 84 00)
5 closed user name is missing, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 82 0000 {} "a")
5 closed user name that is not UTF-8, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 82 0000 {} "a" 0001 ff)
5 closed password is missing, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO c2 0000 {} "a" "u")
5 closed a property of another packet, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 02 0000 { 25 01 } "a")
    A< CONNACK(00 82 {})
5 closed half a property of another packet, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 02 0000 { 02 01 } "a")
    A< CONNACK(00 81 {})
5 closed no property at all, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 02 0000 { 04 01 } "a") A< CONNACK(00 81 {})
"""

WILLS: Final = r"""
5 closed empty will topic, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 06 0000 {} "a" {} "" "x") A< CONNACK(00 82 {})
5 closed will topic that is none, mosquitto: set:like_mosquitto=1
    A> CONNECT(PROTO 06 0000 {} "a" {} "w/#" "x")
345 open will at a takeover, mosquitto: set:like_mosquitto=1
    b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00) A> CONNECT(PROTO 04 0000 { 1700 11 0000003c } "a" {} "w" "x")
    A< CONNACK C> CONNECT(PROTO 00 0000 { 1700 11 0000003c } "a") C< RESUMED A< 5:DISCONNECT(8e) A:closed
    b> PINGREQ b< PINGRESP
5 open will with a delay, and a new session in time, mosquitto: set:like_mosquitto=1
    b> SUBSCRIBE(0001 {} "w" 00) b< SUBACK(0001 {} 00)
    A> CONNECT(PROTO 04 0000 { 1700 11 0000003c } "a" { 18 00000003 } "w" "x") A< CONNACK A:drops
    C> CONNECT(PROTO 02 0000 { 1700 } "a") C< CONNACK wait:5 b> PINGREQ b< PINGRESP
"""

RELEASE: Final = r"""
345 open QoS 2 is routed when it is released, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 {} "t" 02) a< SUBACK(0001 {} 02) a> PUBLISH2("t" 0007 {} 'x') a< PUBREC(0007) a> PUBREL(0007)
    a< PUBLISH2("t" 0001 {} 'x') PUBCOMP(0007)
345 open a packet identifier that is used anew, mosquitto: set:like_mosquitto=1
    b> SUBSCRIBE(0001 {} "#" 00) b< SUBACK(0001 {} 00) a> PUBLISH2("t" 0007 {} 'x') a< PUBREC(0007)
    a> PUBLISH2("u" 0007 {} 'y') a< PUBREC(0007) a> PUBREL(0007) a< PUBCOMP(0007) b< PUBLISH("u" {} 'y')
"""

CONNECTED: Final = r"""
5 closed packet type 0, mosquitto: set:like_mosquitto=1
    a> 00 00 a< DISCONNECT(82)
5 closed packet type 0, half its length, mosquitto: set:like_mosquitto=1
    a> 00 c0 a< DISCONNECT(82)
5 closed remaining length of five bytes, mosquitto: set:like_mosquitto=1
    a> 30 8080808001
5 closed PINGREQ with a body, mosquitto: set:like_mosquitto=1
    a> PINGREQ(00)
5 closed an unknown reason of PUBACK, mosquitto: set:like_mosquitto=1
    a> PUBACK(0001 ff) a< DISCONNECT(82)
5 closed an unknown reason of DISCONNECT, mosquitto: set:like_mosquitto=1
    a> DISCONNECT(05)
5 closed neither topic nor alias, mosquitto: set:like_mosquitto=1
    a> PUBLISH("" {}) a< DISCONNECT(81)
5 closed too many levels, mosquitto: set:like_mosquitto=1
    a> PUBLISH("/"*201 {}) a< DISCONNECT(81)
5 closed identifier 0, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0000 {} "t" 00) a< DISCONNECT(81)
5 closed maximum QoS 3, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 {} "t" 03) a< DISCONNECT(81)
5 closed no filter, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 {}) a< DISCONNECT(81)
5 closed subscription identifier 0, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 { 0b 00 } "t" 00) a< DISCONNECT(81)
5 closed a property that SUBSCRIBE has not, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 { 01 01 } "t" 00) a< DISCONNECT(81)
5 closed share without a filter, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 {} "$share/g" 00) a< DISCONNECT(82)
5 closed something behind #, mosquitto: set:like_mosquitto=1
    a> SUBSCRIBE(0001 {} "$share/#/t" 00) a< DISCONNECT(81)
5 open PUBREC for nothing, mosquitto: set:like_mosquitto=1
    a> PUBREC(0001) a< PUBREL(0001)
5 open PUBREL for nothing, mosquitto: set:like_mosquitto=1
    a> PUBREL(0001) a< PUBCOMP(0001)
"""
