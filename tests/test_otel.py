"""OpenTelemetry: spans of messages and deliveries, sent to a collector that reads OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from harness import MemoryBroker, MemoryClient
from socket_client import Clients, await_true, quiet_settings

from swellmq import Broker
from swellmq.broker.broker import MqttBroker
from swellmq.codec import spec
from swellmq.codec.packets import Properties, Publish
from swellmq.codec.properties import decode_properties, encode_properties_body
from swellmq.errors import SettingsError
from swellmq.limits import Limits

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from swellmq import otel
from swellmq.server import Server

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
CONTEXT = f"00-{TRACE_ID}-{PARENT_ID}-01"


class Kept(SpanExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


class Followed:
    """A broker in memory whose messages are followed."""

    def __init__(
        self, sample: int = 100, start: int = 0, per_second: int = 1_000, limits: Limits | None = None
    ) -> None:
        self.exporter = Kept()
        self.spans = otel.MessageSpans(self.exporter, "swellmq", sample, start, per_second)
        self.broker = MemoryBroker(limits=limits)
        engine: MqttBroker = self.broker.engine
        engine.follow(self.spans)

    def made(self) -> list[ReadableSpan]:
        """All spans so far, in the order in which they ended."""
        self.spans.provider.force_flush()
        return self.exporter.spans


def with_context(topic_name: bytes, payload: bytes = b"", qos: int = 0, context: str = CONTEXT, **more: str) -> Publish:
    publish = Publish(topic_name, payload, qos, False)
    publish.packet_identifier = 7 if qos else 0
    properties = Properties()
    properties.user_properties = [("first", "1"), ("traceparent", context), *more.items()]
    publish.properties = encode_properties_body(properties)
    return publish


def user_properties(publish: Publish) -> list[tuple[str, str]]:
    found = decode_properties(publish.properties, 0, len(publish.properties), spec.PUBLISH).user_properties
    return found or []


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


class TestSpans:
    def test_from_publisher_to_subscribers(self) -> None:
        followed = Followed()
        broker = followed.broker
        for name in ("here", "there"):
            broker.connect(name, version=5).subscribe("t/#", qos=1)
        sender = broker.connect("sender", version=5)
        sender.send(with_context(b"t/x", b"hello", qos=1, tracestate="vendor=1"))
        *deliveries, message = sorted(followed.made(), key=lambda span: span.name)
        assert [span.name for span in (*deliveries, message)] == ["mqtt deliver", "mqtt deliver", "mqtt receive"]
        assert message.context is not None and message.parent is not None
        assert f"{message.context.trace_id:032x}" == TRACE_ID
        assert f"{message.parent.span_id:016x}" == PARENT_ID
        assert message.context.trace_state.get("vendor") == "1"
        assert attributes(message) == {
            "messaging.system": "mqtt",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.destination.name": "t/x",
            "messaging.client.id": "sender",
            "messaging.message.body.size": 5,
            "mqtt.qos": 1,
            "mqtt.retain": False,
            "mqtt.protocol_version": 5,
            "mqtt.subscriptions": 2,
        }
        for span in deliveries:
            assert span.parent is not None and span.parent.span_id == message.context.span_id
            assert span.context is not None and span.context.trace_id == message.context.trace_id
            assert span.start_time is not None and span.end_time is not None
            assert message.start_time == span.start_time <= span.end_time
        assert {attributes(span)["messaging.client.id"] for span in deliveries} == {"here", "there"}
        assert {attributes(span)["mqtt.qos"] for span in deliveries} == {1}
        assert message.resource.attributes["service.name"] == "swellmq"
        broker.check()

    def test_the_context_goes_on_unaltered(self) -> None:
        """[MQTT-3.3.2-17] [MQTT-3.3.2-18]"""
        followed = Followed(start=100)
        receiver = followed.broker.connect("r", version=5)
        receiver.subscribe("t")
        sent = with_context(b"t", tracestate="a=b")
        followed.broker.connect("s", version=5).send(sent)
        (publish,) = receiver.publishes()
        assert publish.properties == sent.properties

    def test_a_delivery_that_had_to_wait(self) -> None:
        followed = Followed()
        broker = followed.broker
        away = broker.connect("away", version=5, clean_start=False, session_expiry_interval=600)
        away.subscribe("t", qos=1)
        away.drop()
        broker.connect("s", version=5).send(with_context(b"t", qos=1))
        assert [span.name for span in followed.made()] == ["mqtt receive"]
        broker.connect("away", version=5, clean_start=False, session_expiry_interval=600)
        assert [span.name for span in followed.made()] == ["mqtt receive", "mqtt deliver"]

    def test_a_message_that_is_refused(self) -> None:
        limits = Limits()
        limits.payload_bytes = 3
        followed = Followed(limits=limits)
        followed.broker.connect("s", version=5).send(with_context(b"t", b"long", qos=1))
        (span,) = followed.made()
        assert (span.status.status_code.name, span.status.description) == ("ERROR", "quota exceeded")
        assert attributes(span)["mqtt.reason_code"] == spec.QUOTA_EXCEEDED

    @pytest.mark.parametrize(
        "context",
        [
            f"00-{TRACE_ID}-{PARENT_ID}-00",  # its trace is not recorded
            f"ff-{TRACE_ID}-{PARENT_ID}-01",
            f"00-{'0' * 32}-{PARENT_ID}-01",
            f"00-{TRACE_ID}-{PARENT_ID}",
            "traceparent",
            "",
        ],
    )
    def test_contexts_that_ask_for_nothing(self, context: str) -> None:
        followed = Followed()
        receiver = followed.broker.connect("r", version=5)
        receiver.subscribe("t")
        followed.broker.connect("s", version=5).send(with_context(b"t", context=context))
        assert len(receiver.publishes()) == 1
        assert followed.made() == []

    def test_a_trace_that_is_not_recorded_is_not_begun_anew(self) -> None:
        followed = Followed(start=100)
        receiver = followed.broker.connect("r", version=5)
        receiver.subscribe("t")
        sent = with_context(b"t", context=f"00-{TRACE_ID}-{PARENT_ID}-00")
        followed.broker.connect("s", version=5).send(sent)
        (publish,) = receiver.publishes()
        assert publish.properties == sent.properties and followed.made() == []

    def test_a_share_of_the_traces(self) -> None:
        """By the trace's id, so that all who take the same share of traces take the same ones."""
        followed = Followed(sample=50)
        sender = followed.broker.connect("s", version=5)
        for half in ("7fffffffffffffff", "8000000000000001"):
            sender.send(with_context(b"t", context=f"00-{'1' * 16}{half}-{PARENT_ID}-01"))
        (span,) = followed.made()
        assert span.context is not None
        assert f"{span.context.trace_id:032x}".endswith("7fffffffffffffff")


class TestTracesThatBeginHere:
    def test_subscribers_learn_of_it(self) -> None:
        followed = Followed(start=100)
        receiver = followed.broker.connect("r", version=5)
        receiver.subscribe("t")
        followed.broker.connect("s", version=4).publish("t", b"1")
        (publish,) = receiver.publishes()
        ((name, context),) = user_properties(publish)
        message = next(span for span in followed.made() if span.name == "mqtt receive")
        assert message.context is not None and message.parent is None
        assert name == "traceparent"
        assert context.startswith(f"00-{message.context.trace_id:032x}-{message.context.span_id:016x}-0")
        assert int(context[-2:], 16) & 1, "recorded"

    def test_behind_the_properties_there_are(self) -> None:
        followed = Followed(start=100)
        receiver = followed.broker.connect("r", version=5)
        receiver.subscribe("t")
        followed.broker.connect("s", version=5).publish("t", b"1", user_properties=[("a", "b")])
        (publish,) = receiver.publishes()
        assert user_properties(publish)[0] == ("a", "b") and user_properties(publish)[1][0] == "traceparent"

    @pytest.mark.parametrize(("start", "together"), [(0, True), (1, False)])
    def test_messages_go_in_bulk_unless_each_may_begin_one(self, start: int, together: bool) -> None:
        followed = Followed(start=start)
        assert followed.broker.engine.runs_allowed == together


class TestBounds:
    def test_spans_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(otel.time, "time_ns", lambda: 5_500_000_000)
        followed = Followed(per_second=10)
        sender = followed.broker.connect("s", version=5)
        for _ in range(25):
            sender.send(with_context(b"t"))
        assert len(followed.made()) == 10
        assert followed.spans.statistics() == {
            "otel_spans": 10,
            "otel_left_out": 15,
            "otel_followed": 10,
            "otel_bugs": 0,
        }
        monkeypatch.setattr(otel.time, "time_ns", lambda: 6_000_000_000)
        sender.send(with_context(b"t"))
        assert len(followed.made()) == 11

    def test_deliveries_of_one_message(self) -> None:
        followed = Followed()
        for number in range(otel.DELIVERIES_MAX + 5):
            followed.broker.connect(f"r{number}", version=5).subscribe("t")
        followed.broker.connect("s", version=5).send(with_context(b"t"))
        spans = [span for span in followed.made() if span.name == "mqtt deliver"]
        assert len(spans) == otel.DELIVERIES_MAX

    def test_messages_that_may_still_be_delivered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(otel, "FOLLOWED_MAX", 5)
        monkeypatch.setattr(otel, "FOLLOWED_BYTES", 1_000)
        followed = Followed()
        sender = followed.broker.connect("s", version=5)
        each = 1 + 1 + len(with_context(b"t").properties)  # which may be larger than topic name and payload
        for _ in range(8):
            sender.send(with_context(b"t", b"x"))
        assert len(followed.spans.followed) == 5 and followed.spans.followed_bytes == 5 * each
        sender.send(with_context(b"t", b"x" * (1_001 - 2 * each)))
        assert len(followed.spans.followed) == 2 and followed.spans.followed_bytes == 1_000
        sender.send(with_context(b"t", more="x" * 1_000))
        assert not followed.spans.followed and followed.spans.followed_bytes == 0

    def test_a_bug_costs_nobody_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_arguments: object, **_more: object) -> None:
            raise RuntimeError("a bug")

        followed = Followed()
        monkeypatch.setattr(followed.spans.tracer, "start_span", fail)
        sender: MemoryClient = followed.broker.connect("s", version=5)
        sender.send(with_context(b"t"), with_context(b"t"))
        assert not sender.closed and followed.spans.statistics()["otel_bugs"] == 2


class Collector:
    """Stands in for a collector: an HTTP server that reads what OTLP exporters post."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.paths.append(self.path)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


class TestExport:
    def test_to_a_collector(self, clients: Clients, collector: Collector) -> None:
        with Broker(quiet_settings(otel_endpoint=collector.url, otel_service_name="factory")) as one:
            receiver, sender = clients(one, 5, "r"), clients(one, 5, "s")
            receiver.subscribe("t")
            sender.send(with_context(b"t", b"1"))
            receiver.expect(Publish)
            assert one.statistics()["otel_spans"] == 2
        # What is left was sent at the end.
        assert {span.name for span in collector.spans()} == {"mqtt receive", "mqtt deliver"}
        assert {span.trace_id.hex() for span in collector.spans()} == {TRACE_ID}
        assert collector.paths[0] == "/v1/traces"
        names = {one.key: one.value.string_value for one in collector.requests[0].resource_spans[0].resource.attributes}
        assert names["service.name"] == "factory"

    def test_a_collector_that_is_down_holds_nobody_up(self, broker: Callable[..., Broker], clients: Clients) -> None:
        one = broker(otel_endpoint="http://127.0.0.1:1/here")
        sender = clients(one, 5, "s")
        sender.send(with_context(b"t", b"1"))
        sender.ping()
        await_true(lambda: one.statistics()["otel_spans"] == 1)

    def test_an_endpoint_that_is_none(self, broker: Callable[..., Broker]) -> None:
        with pytest.raises(SettingsError, match="no URL of http or https"):
            broker(otel_endpoint="localhost:4318")

    def test_a_broker_that_can_not_listen_leaves_no_thread(self, server: Callable[..., Server]) -> None:
        before = set(threading.enumerate())
        with pytest.raises(SettingsError, match="can't listen"):
            server(otel_endpoint="http://127.0.0.1:1", port=server().port)
        assert set(threading.enumerate()) <= before
