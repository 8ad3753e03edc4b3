"""OpenTelemetry: messages followed from their publisher to their subscribers, as spans (extra `otel`).

A publisher that traces puts the W3C trace context (`traceparent`, `tracestate`) into the User Properties of its
PUBLISH. Where that says that the trace is recorded, the broker adds a span for the message and one for each delivery.
The context goes on to the subscribers as it came, since user properties are forwarded unaltered: what a subscriber
records belongs to the same trace. For a share of the messages without a context the broker can begin one.

Spans are made by OpenTelemetry's SDK and sent by a thread of it, in batches. How many are made in a second is bounded,
because making one takes longer than most messages do.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from typing import Final
from urllib.parse import urlsplit

from swellmq.broker.access import Spans
from swellmq.broker.session import message_bytes
from swellmq.codec import spec
from swellmq.codec.packets import Properties, Publish
from swellmq.codec.properties import decode_properties, encode_properties_body
from swellmq.codec.reasons import REASON_CODES
from swellmq.errors import SettingsError
from swellmq.settings import Settings
from swellmq.version import VERSION

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise SettingsError(
        "otel.endpoint",
        f"needs the libraries of OpenTelemetry ({error.name} is missing)",
        "Install them: pip install 'swellmq[otel]'",
    ) from None

log = logging.getLogger("swellmq.otel")

DELIVERIES_MAX: Final = 32  # of one message have a span
FOLLOWED_MAX: Final = 4_096  # messages that may still be delivered
FOLLOWED_BYTES: Final = 16_777_216  # of them all
GOODBYE_S: Final = 2.0  # at the end, for what is still to be sent
TRACES_PATH: Final = "/v1/traces"


class Followed:
    """A message with a span, while deliveries of it may come."""

    __slots__ = ("span", "context", "began_ns", "size", "deliveries")

    def __init__(self, span: Span, context: Context, began_ns: int, size: int) -> None:
        self.span = span
        self.context = context
        self.began_ns = began_ns
        self.size = size
        self.deliveries = 0


class MessageSpans(Spans):
    """Makes the spans of one broker. `exporter` takes them away, from a thread of its own."""

    def __init__(self, exporter: SpanExporter, service_name: str, sample: int, start: int, per_second: int) -> None:
        """`sample` and `start` are percent, as in the settings."""
        super().__init__()
        resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: VERSION})
        self.provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("swellmq", VERSION)
        self.propagator = TraceContextTextMapPropagator()
        self.sample_below = (sample << 64) // 100  # of the lower half of a trace id, as in TraceIdRatioBased
        self.start_share = start / 100
        self.starts = start > 0
        self.per_second = per_second
        self.followed: OrderedDict[Publish, Followed] = OrderedDict()
        self.followed_bytes = 0
        self.second = 0
        self.in_second = 0
        self.spans = 0
        self.left_out = 0
        self.bugs = 0

    # The broker calls

    def received(self, publish: Publish, protocol_version: int) -> None:
        if not self.starts and b"traceparent" not in publish.properties:
            return
        try:
            self.begin(publish, protocol_version)
        except Exception:
            self.on_bug()

    def routed(self, publish: Publish, subscriptions: int, reason_code: int) -> None:
        one = self.followed.get(publish)
        if one is not None:
            try:
                self.end(one, subscriptions, reason_code)
            except Exception:
                self.on_bug()

    def delivered(self, publish: Publish, client_id: str, qos: int) -> None:
        one = self.followed.get(publish)
        if one is not None:
            try:
                self.deliver(one, publish, client_id, qos)
            except Exception:
                self.on_bug()

    def on_bug(self) -> None:
        """Nothing that goes wrong here may cost a client its connection. Told once: it may be so for each message."""
        self.bugs += 1
        if self.bugs == 1:
            log.exception("a bug of ours while a message is followed; it goes on without its span")

    # Spans

    def begin(self, publish: Publish, protocol_version: int) -> None:
        """The span of a message, where its trace is recorded or one begins here."""
        now_ns = time.time_ns()
        parent: Context | None = None
        if b"traceparent" in publish.properties:
            parent = self.context_of(publish)
            if parent is None:
                return
        elif random.random() >= self.start_share:
            return
        if not self.has_room(now_ns):
            return
        span = self.tracer.start_span(
            "mqtt receive",
            parent if parent is not None else Context(),
            SpanKind.CONSUMER,
            {
                "messaging.system": "mqtt",
                "messaging.operation.name": "receive",
                "messaging.operation.type": "receive",
                "messaging.destination.name": publish.topic_name.decode(),
                "messaging.client.id": publish.client_id,
                "messaging.message.body.size": len(publish.payload),
                "mqtt.qos": int(publish.qos),
                "mqtt.retain": publish.retain,
                "mqtt.protocol_version": protocol_version,
            },
            start_time=now_ns,
        )
        context = trace.set_span_in_context(span, Context())
        if parent is None:
            self.put_into(publish, context)
        self.follow(publish, Followed(span, context, now_ns, int(message_bytes(publish))))

    def end(self, one: Followed, subscriptions: int, reason_code: int) -> None:
        """It is routed; the spans of its deliveries hang below its own."""
        span = one.span
        span.set_attribute("mqtt.subscriptions", subscriptions)
        if reason_code >= 0x80:
            span.set_attribute("mqtt.reason_code", reason_code)
            span.set_status(Status(StatusCode.ERROR, REASON_CODES.get(reason_code, "refused")))
        span.end()

    def deliver(self, one: Followed, publish: Publish, client_id: str, qos: int) -> None:
        """The span of a delivery: from when the message came to when it is on its way to this client."""
        one.deliveries += 1
        now_ns = time.time_ns()
        if one.deliveries > DELIVERIES_MAX or not self.has_room(now_ns):
            return
        attributes: dict[str, str | int] = {
            "messaging.system": "mqtt",
            "messaging.operation.name": "deliver",
            "messaging.operation.type": "send",
            "messaging.destination.name": publish.topic_name.decode(),
            "messaging.client.id": client_id,
            "mqtt.qos": qos,
        }
        span = self.tracer.start_span(
            "mqtt deliver", one.context, SpanKind.PRODUCER, attributes, start_time=one.began_ns
        )
        span.end(now_ns)

    # Contexts

    def context_of(self, publish: Publish) -> Context | None:
        """The trace that a message brings along, where it is recorded, and here too."""
        properties = publish.properties
        pairs = decode_properties(properties, 0, len(properties), spec.PUBLISH).user_properties or []
        context = self.propagator.extract(dict(reversed(pairs)), Context())  # of several the first counts
        parent = trace.get_current_span(context).get_span_context()
        if not parent.is_valid or not parent.trace_flags.sampled:
            return None
        return context if parent.trace_id & 0xFFFF_FFFF_FFFF_FFFF < self.sample_below else None

    def put_into(self, publish: Publish, context: Context) -> None:
        """Let the subscribers know the trace that has begun here, behind the user properties that there are."""
        carrier: dict[str, str] = {}
        self.propagator.inject(carrier, context)
        given = Properties()
        given.user_properties = list(carrier.items())
        publish.properties += encode_properties_body(given)

    # Bounds

    def has_room(self, now_ns: int) -> bool:
        """Whether one more span may be made in this second."""
        second = now_ns // 1_000_000_000
        if second != self.second:
            self.second = second
            self.in_second = 0
        self.in_second += 1
        if self.in_second > self.per_second:
            self.left_out += 1
            return False
        self.spans += 1
        return True

    def follow(self, publish: Publish, one: Followed) -> None:
        """Remember a message; those that came first are forgotten where they are too many."""
        self.followed[publish] = one
        self.followed_bytes += one.size
        while len(self.followed) > FOLLOWED_MAX or self.followed_bytes > FOLLOWED_BYTES:
            _, oldest = self.followed.popitem(last=False)
            self.followed_bytes -= oldest.size

    def statistics(self) -> dict[str, int]:
        """How many spans were made, and how many left out because there were too many in a second."""
        return {
            "otel_spans": self.spans,
            "otel_left_out": self.left_out,
            "otel_followed": len(self.followed),
            "otel_bugs": self.bugs,
        }

    def close(self) -> None:
        """Send what is left, in a short time: a collector that does not answer holds nobody up."""
        last = threading.Thread(target=self.provider.shutdown, name="swellmq-otel-goodbye", daemon=True)
        last.start()
        last.join(GOODBYE_S)


def open_spans(settings: Settings) -> MessageSpans:
    """The spans that the settings ask for."""
    endpoint = settings.otel_endpoint
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        where = settings.where("otel.endpoint")
        raise SettingsError(f"otel.endpoint = {endpoint}", "no URL of http or https", "Give http://HOST:4318", where)
    if parts.path in ("", "/"):
        endpoint = parts._replace(path=TRACES_PATH).geturl()
    _log_with_ours()
    return MessageSpans(
        OTLPSpanExporter(endpoint),
        settings.otel_service_name,
        settings.otel_sample_percent,
        settings.otel_start_percent,
        settings.otel_spans_per_s,
    )


def _log_with_ours() -> None:
    """Where swellmq has a log of its own, what OpenTelemetry has to say goes there too: a collector may be down."""
    ours = logging.getLogger("swellmq")
    if ours.handlers:
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers = ours.handlers
        theirs.setLevel(logging.WARNING)
        theirs.propagate = False
