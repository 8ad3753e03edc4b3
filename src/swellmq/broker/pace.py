"""How fast one client may send: who sends more is not read for a while, so that its own socket slows it down.

Nothing is dropped for it. A client has a second's worth to its credit; what takes it below nothing is paid for by
a pause, in which the client is parked like one that has asked a question. Only brokers with such a limit keep meters.
"""

from __future__ import annotations

from mypy_extensions import i64

from swellmq.broker.core import Core
from swellmq.broker.meter import SECOND_MS, Meter, Pause
from swellmq.connection import Connection
from swellmq.limits import TICK_MS


def measure(core: Core, connection: Connection, messages: i64, size: i64) -> None:
    """A client has sent so many messages, or bytes: pause it if that was too fast."""
    limits = core.limits
    now_ms = core.turn.now_ms
    meter = core.meters.get(connection)
    if meter is None:
        meter = Meter(now_ms, limits.messages_per_s, limits.bytes_per_s)
        core.meters[connection] = meter
    passed_ms = min(now_ms - meter.last_ms, SECOND_MS)
    meter.last_ms = now_ms
    wait_ms: i64 = 0
    if limits.messages_per_s:
        credit = min(meter.messages + passed_ms * limits.messages_per_s, limits.messages_per_s * SECOND_MS)
        meter.messages = credit - messages * SECOND_MS
        wait_ms = -meter.messages // limits.messages_per_s
    if limits.bytes_per_s:
        credit = min(meter.bytes + passed_ms * limits.bytes_per_s, limits.bytes_per_s * SECOND_MS)
        meter.bytes = credit - size * SECOND_MS
        wait_ms = max(wait_ms, -meter.bytes // limits.bytes_per_s)
    if wait_ms >= TICK_MS and connection.question is None:  # a shorter debt is paid with the next one
        core.stats.pauses += 1
        connection.question = Pause(now_ms + wait_ms)
        core.turn.watch.append(connection)
        core.look_again(connection, now_ms + wait_ms)


def over(core: Core, connection: Connection, pause: Pause) -> bool:
    """Whether a pause has ended; the connection is read again then."""
    if core.turn.now_ms < pause.until_ms:
        core.deadlines.set(connection, pause.until_ms)
        return False
    connection.question = None
    connection.last_ms = core.turn.now_ms  # its silence was ours
    core.turn.watch.append(connection)
    return True
