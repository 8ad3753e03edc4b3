"""Reason codes in words, for people; no packet has these."""

from __future__ import annotations

from typing import Final

from swellmq.codec import spec

# Reason codes that refuse or end something, MQTT 5.0 table 2-6.
REASON_CODES: Final = {
    spec.UNSPECIFIED_ERROR: "unspecified error",
    spec.MALFORMED_PACKET: "malformed packet",
    spec.PROTOCOL_ERROR: "protocol error",
    spec.IMPLEMENTATION_SPECIFIC_ERROR: "implementation specific error",
    spec.UNSUPPORTED_PROTOCOL_VERSION: "unsupported protocol version",
    spec.CLIENT_IDENTIFIER_NOT_VALID: "client identifier not valid",
    spec.BAD_USER_NAME_OR_PASSWORD: "bad user name or password",
    spec.NOT_AUTHORIZED: "not authorized",
    spec.SERVER_UNAVAILABLE: "server unavailable",
    spec.SERVER_BUSY: "server busy",
    spec.BANNED: "banned",
    spec.SERVER_SHUTTING_DOWN: "server shutting down",
    spec.BAD_AUTHENTICATION_METHOD: "bad authentication method",
    spec.KEEP_ALIVE_TIMEOUT: "keep alive timeout",
    spec.SESSION_TAKEN_OVER: "session taken over by another client with the same client id",
    spec.TOPIC_FILTER_INVALID: "topic filter invalid",
    spec.TOPIC_NAME_INVALID: "topic name invalid",
    spec.PACKET_IDENTIFIER_IN_USE: "packet identifier in use",
    spec.PACKET_IDENTIFIER_NOT_FOUND: "packet identifier not found",
    spec.RECEIVE_MAXIMUM_EXCEEDED: "receive maximum exceeded",
    spec.TOPIC_ALIAS_INVALID: "topic alias invalid",
    spec.PACKET_TOO_LARGE: "packet too large",
    spec.MESSAGE_RATE_TOO_HIGH: "message rate too high",
    spec.QUOTA_EXCEEDED: "quota exceeded",
    spec.ADMINISTRATIVE_ACTION: "administrative action",
    spec.PAYLOAD_FORMAT_INVALID: "payload format invalid",
    spec.RETAIN_NOT_SUPPORTED: "retain not supported",
    spec.QOS_NOT_SUPPORTED: "QoS not supported",
    spec.USE_ANOTHER_SERVER: "use another server",
    spec.SERVER_MOVED: "server moved",
    spec.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: "shared subscriptions not supported",
    spec.CONNECTION_RATE_EXCEEDED: "connection rate exceeded",
    spec.MAXIMUM_CONNECT_TIME: "maximum connect time",
    spec.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: "subscription identifiers not supported",
    spec.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: "wildcard subscriptions not supported",
}
