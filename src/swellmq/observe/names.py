"""What the numbers of `Server.statistics()` are called outside: metrics of Prometheus, and topics below `$SYS`.

`METRICS` is the one table of metrics: the exposition (`admin/metrics.py`) and docs/METRICS.md follow from it. Each
number of `statistics()` is in it or in `NOT_EXPORTED`. Those of a storage of somebody's own are in neither, and become
`swellmq_number`. Names follow Prometheus' conventions: base units, `_total` for what only grows, one name with a label
where a sum makes sense.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from swellmq.errors import CLOSE_REASONS

GAUGE: Final = "gauge"
COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"
MICROSECONDS: Final = 1e-6


class Metric(NamedTuple):
    """One metric. `sources` are the names in `statistics()`: one, or one for each value of `label`.

    A counter's name is without `_total`, which the exposition adds. Numbers are multiplied by `scale`.
    """

    name: str
    kind: str
    meaning: str
    sources: dict[str, str]  # from the label's value, "" where there is no label
    label: str = ""
    scale: float = 1


def _one(name: str, kind: str, source: str, meaning: str, scale: float = 1) -> Metric:
    return Metric("swellmq_" + name, kind, meaning, {"": source}, "", scale)


def _many(name: str, kind: str, label: str, sources: dict[str, str], meaning: str, scale: float = 1) -> Metric:
    return Metric("swellmq_" + name, kind, meaning, sources, label, scale)


METRICS: Final[tuple[Metric, ...]] = (
    # Connections and the pool
    _one("connections_active", GAUGE, "pool_active", "Network connections that are served."),
    _one("connections_max", GAUGE, "pool_max_connections", "The setting max_connections."),
    _one("connections_accepted", COUNTER, "connections_accepted", "Connections that got an object of the pool."),
    _one("connections_refused", COUNTER, "connections_refused", "Connections that were told that the broker is full."),
    _one("connections_dropped", COUNTER, "connections_dropped", "Connections that were closed without a word."),
    _many(
        "connections_closed",
        COUNTER,
        "reason",
        {name.replace(" ", "_").replace(",", "").lower(): "closed: " + name for name in CLOSE_REASONS[1:]},
        "Connections that ended, by reason.",
    ),
    _one("connections_stalled", GAUGE, "stalled", "Connections whose client takes its output too slowly."),
    _one("connections_lingering", GAUGE, "lingering", "Ended connections that are kept for the client to read why."),
    _one("connections_late", GAUGE, "late", "Connections whose output waits for a later turn."),
    _one("accept_pauses", COUNTER, "accept_pauses", "Times that no descriptor or memory was left for a connection."),
    _one("listeners", GAUGE, "listeners", "Open listeners."),
    _one("listeners_paused", GAUGE, "listeners_paused", "Listeners that wait for a descriptor."),
    _one("pool_capacity", GAUGE, "pool_capacity", "Preheated connection objects."),
    _one("pool_idle", GAUGE, "pool_idle", "Preheated objects that wait for a client."),
    _one("pool_overflow", GAUGE, "pool_overflow", "Objects made on demand, beyond the pool."),
    _one("pool_made_on_demand", COUNTER, "pool_overflow_total", "Objects that were ever made on demand."),
    _one("pool_max_size", GAUGE, "pool_max_size", "The setting pool.max_size."),
    _one("pool_steps", COUNTER, "pool_steps", "Steps by which the pool has grown."),
    _one("pool_steps_failed", COUNTER, "pool_steps_failed", "Steps that failed, and were tried again later."),
    _one("pool_renewals", COUNTER, "pool_renewals", "Times that idle objects were made anew after a crowd had gone."),
    _one(
        "pool_step_longest_seconds",
        GAUGE,
        "pool_step_longest_us",
        "The longest step of growth so far.",
        MICROSECONDS,
    ),
    _one(
        "pool_slice_longest_seconds",
        GAUGE,
        "pool_slice_longest_us",
        "The longest slice of growth so far: clients wait for no more than that.",
        MICROSECONDS,
    ),
    # Clients and sessions
    _one("clients_connected", GAUGE, "clients", "Clients whose CONNECT was accepted."),
    _one("clients_maximum", GAUGE, "clients_maximum", "Clients at the most so far."),
    _one("connects", COUNTER, "connects", "CONNECTs that were accepted."),
    _one("sessions", GAUGE, "sessions", "Sessions, of clients that are connected or away."),
    _one("sessions_expired", COUNTER, "sessions_expired", "Sessions that ended while their client was away."),
    _one("sessions_ending", GAUGE, "ending", "Ended sessions some of whose subscriptions are still to be removed."),
    _one("sessions_crowded", GAUGE, "crowded", "Sessions whose messages wait for room in the outbox."),
    _one("subscriptions", GAUGE, "subscriptions", "Subscriptions, those that are shared among them."),
    _one("subscriptions_shared", GAUGE, "shared_subscriptions", "Shared subscriptions."),
    _one("routes", GAUGE, "routes", "Topics whose subscribers are remembered."),
    _one("retained_messages", GAUGE, "retained", "Retained messages."),
    _one("retained_bytes", GAUGE, "retained_bytes", "Memory of the retained messages, about."),
    _one("waiting_bytes", GAUGE, "waiting_bytes", "Memory of messages whose clients are away, about."),
    _one("strangers_bytes", GAUGE, "strangers_bytes", "Memory of incomplete CONNECTs."),
    _one("questions", GAUGE, "questions", "Questions to access control, cluster or store that wait for an answer."),
    _one("deadlines", GAUGE, "deadlines", "Deadlines that are kept."),
    _one("deadlines_stale", GAUGE, "deadlines_stale", "Deadlines that hold no more, and are still kept."),
    # Traffic
    _many(
        "bytes",
        COUNTER,
        "direction",
        {"received": "bytes_received", "sent": "bytes_sent"},
        "Bytes of MQTT, above TLS and WebSocket.",
    ),
    _many(
        "packets",
        COUNTER,
        "direction",
        {"received": "packets_received", "sent": "packets_sent"},
        "MQTT packets of any kind.",
    ),
    _many(
        "messages",
        COUNTER,
        "direction",
        {"received": "publishes_received", "sent": "publishes_sent"},
        "PUBLISH packets.",
    ),
    _many(
        "payload_bytes",
        COUNTER,
        "direction",
        {"received": "publish_bytes_received", "sent": "publish_bytes_sent"},
        "Bytes of payloads.",
    ),
    _many(
        "messages_dropped",
        COUNTER,
        "reason",
        {
            "outbox_full": "dropped_outbox_full",
            "overload": "dropped_overload",
            "queue_full": "dropped_queue_full",
            "too_large": "dropped_too_large",
            "retained_full": "dropped_retained_full",
            "expired": "dropped_expired",
            "forbidden": "dropped_forbidden",
            "offline": "dropped_offline",
        },
        "Messages that somebody did not get, by reason.",
    ),
    _one("pauses", COUNTER, "pauses", "Times that a client sent faster than it may, and was not read for a while."),
    # Access
    _many(
        "logins",
        COUNTER,
        "result",
        {
            "accepted": "logins_accepted",
            "refused": "logins_refused",
            "abandoned": "logins_abandoned",
            "put_off": "logins_put_off",
        },
        "Logins, by what came of them.",
    ),
    _one("logins_waiting", GAUGE, "logins_waiting", "Logins and questions that wait for a thread or a server."),
    _one("logins_remembered", GAUGE, "logins_remembered", "Logins whose answer is remembered."),
    _one("questions_put_off", COUNTER, "questions_put_off", "Questions to a server that found too many waiting."),
    _one("decisions", GAUGE, "decisions", "Decisions about topics that are remembered."),
    _one("bans", GAUGE, "bans", "Addresses and clients that are banned."),
    _one("bans_begun", COUNTER, "bans_begun", "Bans so far."),
    _many(
        "refusals",
        COUNTER,
        "what",
        {
            "publish": "refused_publishes",
            "subscribe": "refused_subscriptions",
            "takeover": "refused_takeovers",
            "not_stored": "refused_not_stored",
            "banned": "refused_banned",
            "connect_rate": "refused_connect_rate",
            "connection_quota": "refused_connection_quota",
        },
        "What clients asked for and did not get.",
    ),
    _one("subscriptions_revoked", COUNTER, "subscriptions_revoked", "Subscriptions removed since rights have changed."),
    # OpenTelemetry
    _one("otel_spans", COUNTER, "otel_spans", "Spans that were made."),
    _one("otel_left_out", COUNTER, "otel_left_out", "Spans that were not made, because of otel.spans_per_s."),
    _one("otel_followed", GAUGE, "otel_followed", "Messages with a span that may still be delivered."),
    _one("otel_bugs", COUNTER, "otel_bugs", "Faults of ours while a message was followed."),
    # The loop
    _one("turns", COUNTER, "turns", "Turns of the loop."),
    _one("turn_recent_seconds", GAUGE, "turn_recent_us", "Longest turn of the last one to two minutes.", MICROSECONDS),
    _one("collections", COUNTER, "collections", "Runs of Python's cyclic collector."),
    _one(
        "collection_recent_seconds",
        GAUGE,
        "collection_recent_us",
        "Longest run of the collector of the last one to two minutes.",
        MICROSECONDS,
    ),
    _many(
        "errors",
        COUNTER,
        "fault",
        {"peer": "errors_peer", "internal": "errors_internal"},
        "Faults: of peers, malformed packets and protocol errors; internal, bugs with a traceback in the log.",
    ),
    # Overload and alarms
    _one("memory_budget_bytes", GAUGE, "memory_budget", "Memory past which new clients are refused; 0: no bound."),
    _one("memory_used_bytes", GAUGE, "memory_used", "Memory of the process and, about, of its sockets."),
    _many(
        "overloads",
        COUNTER,
        "of",
        {"memory": "memory_full_times", "descriptors": "descriptors_short_times", "turns": "turns_heavy_times"},
        "Times that new clients began to be refused since something had run out.",
    ),
    _many(
        "overloaded",
        GAUGE,
        "of",
        {"memory": "memory_full", "descriptors": "descriptors_short", "turns": "turns_heavy"},
        "Whether it has run out.",
    ),
    _one("refusing", GAUGE, "refusing", "Whether new clients are refused for one of these reasons."),
    _one("shedding", GAUGE, "shedding", "Whether QoS 0 that waits is dropped."),
    _one("alarms_raised", COUNTER, "alarms_raised", "Alarms raised so far."),
    # The store
    _one("store_commits", COUNTER, "store_commits", "Batches that were written."),
    _one("store_commit_seconds", GAUGE, "store_commit_us", "How long the last batch took to write.", MICROSECONDS),
    _one("store_commit_longest_seconds", GAUGE, "store_commit_longest_us", "The longest so far.", MICROSECONDS),
    _one("store_failures", COUNTER, "store_failures", "Batches that could not be written."),
    _one("store_waiting_bytes", GAUGE, "store_bytes_waiting", "Bytes that wait to be written."),
    _one("store_files_to_fold", GAUGE, "store_files_to_fold", "Files of the journal that are not in the database yet."),
    _one("store_batches_waiting", GAUGE, "store_batches_waiting", "Batches that wait to be written."),
    _one("store_journal_bytes", GAUGE, "store_journal_bytes", "Bytes of the journal that the database lacks."),
    _one("store_fold_behind_seconds", GAUGE, "store_fold_behind_s", "How old the oldest of them are."),
    _one("store_read_backs_waiting", GAUGE, "store_read_backs_waiting", "Sessions whose messages are to be read back."),
    _one("store_refusal_code", GAUGE, "store_refusal", "Reason code that durable work is refused with; 0: it is not."),
    _one("store_disk_free_bytes", GAUGE, "disk_free_bytes", "Free space where the data is; 0 without data."),
    # Admin
    _one("admin_connections", GAUGE, "admin_connections", "Connections to the admin server."),
    _one("admin_errors_internal", COUNTER, "admin_errors_internal", "Bugs of the admin server."),
    _one(
        "admin_turn_recent_seconds",
        GAUGE,
        "admin_turn_recent_us",
        "Longest turn of the admin server of the last one to two minutes; MQTT waits for it.",
        MICROSECONDS,
    ),
    _one("admin_requests", COUNTER, "admin_requests", "HTTP requests."),
    _many(
        "admin_requests_failed",
        COUNTER,
        "reason",
        {
            "malformed": "admin_requests_malformed",
            "timed_out": "admin_requests_timed_out",
            "refused": "admin_refused",
        },
        "HTTP requests that were none, took too long, or came without a right.",
    ),
    _many(
        "admin_answers",
        COUNTER,
        "class",
        {f"{hundreds}xx": f"admin_answers_{hundreds}xx" for hundreds in range(2, 6)},
        "Answers by class of their status.",
    ),
)

# Made by hand in admin/metrics.py: name, kind, what it says.
HISTOGRAMS: Final = {
    "swellmq_turn_seconds": ("turn_lengths", "How long turns of the loop took."),
    "swellmq_connect_seconds": ("connect", "From accept to CONNACK, of clients that were let in."),
    "swellmq_delivery_seconds": (
        "delivery",
        "From the read that brought a message to the write that sent it on; some 250 samples a second at the most.",
    ),
}
OTHERS: Final = {
    "swellmq_build": ("info", "The build: version, compiled or interpreted, version of Python."),
    "swellmq_number": (GAUGE, "Numbers that have no name here, by name: those of a storage of somebody's own."),
    "swellmq_alarm": (GAUGE, "Whether an alarm is raised, by alarm and severity."),
    "process_resident_memory_bytes": (GAUGE, "Resident memory of the process."),
    "process_cpu_seconds": (COUNTER, "CPU time of the process, user and system."),
    "process_open_fds": (GAUGE, "Open files of the process, about; looked up once a second at most."),
    "process_max_fds": (GAUGE, "How many the system allows; missing where there is no bound."),
    "process_start_time_seconds": (GAUGE, "When the broker started, in Unix time."),
}

LABELS: Final = {"swellmq_alarm": ("alarm", "severity"), "swellmq_number": ("name",)}

_QUANTILE: Final = "a quantile since the start: the histograms say more"
NOT_EXPORTED: Final = {
    "pool_slice_recent_us": "of the last minutes: the longest ever is there, and turns include slices",
    "turn_longest_us": "since the start, so it never falls; turn_recent_seconds does",
    "collection_longest_us": "the same",
    "admin_turn_longest_us": "the same",
    "turn_p50_us": _QUANTILE,
    "turn_p99_us": _QUANTILE,
    "connect_p50_us": _QUANTILE,
    "connect_p99_us": _QUANTILE,
    "delivery_p50_us": _QUANTILE,
    "delivery_p99_us": _QUANTILE,
    "descriptors": "process_open_fds",
    "alarms": "the sum of swellmq_alarm",
}

# What an alarm watches, and the setting that has its bound.
ALARMS: Final = {
    "pool": ("alarms.pool_percent", "The pool has reached pool.max_size, and so much of it is in use."),
    "overflow": ("alarms.overflow", "Connections found no idle object: each of them has one made on demand."),
    "connections": ("alarms.connections_percent", "max_connections is near; beyond it clients are refused."),
    "descriptors": ("alarms.descriptors_percent", "The system's limit on open files is near."),
    "memory": ("alarms.memory_percent", "The memory budget is near; beyond it clients are refused."),
    "overload": ("none", "Clients are refused, or QoS 0 that waits is dropped, since something has run out."),
    "turn": ("alarms.turn_ms", "Turns of the loop are long, and all clients wait for their end."),
    "slow_clients": ("alarms.slow_clients", "Clients take their messages more slowly than they come."),
    "dropped": (
        "alarms.dropped_per_s",
        "Messages are dropped because an outbox, a queue or the retained store is full.",
    ),
    "waiting": ("alarms.waiting_percent", "Messages for clients that are away will soon have used up their memory."),
    "store_backlog": ("alarms.store_percent", "The disk is slower than what is to be stored."),
    "store_refuses": ("none", "The store can't write, and durable work is refused."),
    "disk": ("alarms.disk_free_bytes", "Little space is left where the data is."),
}

# Topics below $SYS/broker/. Those of mosquitto have its meanings.
SYS_TOPICS: Final = {
    "version": "The name and version of the broker.",
    "uptime": "Seconds since the start.",
    "clients/total": "Sessions, of clients that are connected or away.",
    "clients/connected": "Clients that are connected; clients/active is the same.",
    "clients/active": "As clients/connected.",
    "clients/disconnected": "Sessions whose client is away; clients/inactive is the same.",
    "clients/inactive": "As clients/disconnected.",
    "clients/maximum": "Clients that were connected at the most.",
    "clients/expired": "Sessions that ended while their client was away.",
    "subscriptions/count": "Subscriptions.",
    "shared_subscriptions/count": "Shared subscriptions.",
    "retained messages/count": "Retained messages.",
    "messages/stored": "As store/messages/count.",
    "store/messages/count": "Messages that are kept: the retained ones.",
    "store/messages/bytes": "Their memory, about.",
    "messages/received": "Packets of any kind that clients have sent.",
    "messages/sent": "Packets of any kind that were sent to clients.",
    "publish/messages/received": "PUBLISH packets that clients have sent.",
    "publish/messages/sent": "PUBLISH packets that were sent to clients.",
    "publish/messages/dropped": "Messages that were dropped for want of room, or because they were too large.",
    "publish/bytes/received": "Bytes of their payloads.",
    "publish/bytes/sent": "Bytes of their payloads.",
    "bytes/received": "Bytes that clients have sent.",
    "bytes/sent": "Bytes that were sent to clients.",
    "heap/current": "Resident memory of the process.",
    "heap/maximum": "The most that it was, as seen here.",
    "load/messages/received/+": "Packets received per minute, over the last 1min, 5min and 15min; so below.",
    "load/messages/sent/+": "Packets sent per minute.",
    "load/publish/received/+": "PUBLISH packets received per minute.",
    "load/publish/sent/+": "PUBLISH packets sent per minute.",
    "load/publish/dropped/+": "Messages dropped per minute.",
    "load/bytes/received/+": "Bytes received per minute.",
    "load/bytes/sent/+": "Bytes sent per minute.",
    "load/sockets/+": "Connections accepted per minute.",
    "load/connections/+": "CONNECTs accepted per minute.",
    "loop/turn_longest_us": "The longest turn of the loop, in microseconds.",
    "loop/turn_recent_us": "The longest of the last one to two minutes.",
    "loop/collection_longest_us": "The longest run of Python's cyclic collector.",
    "loop/collection_recent_us": "The longest of the last one to two minutes.",
    "pool/+": "The pool: capacity, active, idle, overflow, max_size, max_connections, steps and how long they took.",
    "alarms/+": "An alarm: `raised: ` and what is wrong, or `cleared`; at once, and only if it was ever raised.",
}
