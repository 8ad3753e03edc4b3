"""Access and a cluster that answer when they like: at once, out of order, past the deadline, to nobody any more.

`Questions` holds what is open. Its policy is the seed's; whatever it answers, the line of the connection is told first,
so that the oracle knows it when the broker does.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sim.line import ALLOWED, Answer, Line
from sim.model import Violation
from sim.peer import TappedClient

from swellmq.broker.access import ACQUIRE, AUTHENTICATE, BARRIER, PUBLISH, SUBSCRIBE, Access, Request
from swellmq.broker.session import Subscription
from swellmq.broker.uplink import Uplink
from swellmq.codec.packets import Publish
from swellmq.codec.spec import NOT_AUTHORIZED
from swellmq.connection import Connection

ALWAYS_LET_IN = ("monitor", "newcomer")


@dataclass(eq=False)
class Open:
    """A question that waits for its answer."""

    request: Request
    line: Line
    filters: int  # of a SUBSCRIBE
    forgotten: bool  # nobody will ever answer


class Questions:
    """What the broker has asked, and what is answered."""

    def __init__(self, random: Random, access: bool, uplink: bool, shelves: bool) -> None:
        self.random = random
        self.access = LateAccess(self) if access else Access()
        self.uplink = LateUplink(self) if uplink else Uplink()
        # Not where what follows an answer matters for the next: with a cluster it may ask again, and what is on disk
        # only may change.
        self.several = not uplink and not shelves
        self.open: list[Open] = []
        self.easy = False  # from now on everything is allowed at once
        self.now_ms = 0
        self.wires: dict[int, TappedClient] = {}  # by descriptor

    def asks(self, kind: int) -> int:
        """`kind`, if the broker has to ask this."""
        asked = {
            AUTHENTICATE: self.access.authenticates,
            PUBLISH: self.access.authorizes_publish,
            SUBSCRIBE: self.access.authorizes_subscribe,
            ACQUIRE: self.uplink.enabled,
            BARRIER: self.uplink.enabled,
        }
        return kind if asked[kind] else 0

    def put(self, request: Request) -> Open:
        """The broker puts a question."""
        line = self._line(request.connection)
        line.note_put(int(request.kind))
        filters = len(request.subscribe.requests) if request.subscribe is not None else 0
        question = Open(request, line, filters, not self._easy(request) and self.random.random() < 0.1)
        self.open.append(question)
        return question

    def _line(self, connection: Connection) -> Line:
        line = self.wires[connection.fd].line
        assert line is not None
        return line

    def _easy(self, request: Request) -> bool:
        return self.easy or request.client_id in ALWAYS_LET_IN

    def at_once(self, question: Open) -> bool:
        """Whether this one is answered as it is put."""
        return self._easy(question.request) or (not question.forgotten and self.random.random() < 0.5)

    def decide(self, question: Open) -> Answer:
        """What the answer is; the line is told."""
        self.open.remove(question)
        request = question.request
        answer = ALLOWED
        if request.kind == SUBSCRIBE:
            answer = [0] * question.filters
        if not self._easy(request):
            if request.kind == SUBSCRIBE:
                answer = [self.random.choice((0, 0, 0, NOT_AUTHORIZED)) for _ in answer]
            elif request.kind in (AUTHENTICATE, PUBLISH) and self.random.random() < 0.15:
                answer = [NOT_AUTHORIZED]
        if request.kind == SUBSCRIBE:
            request.verdicts = answer
        question.line.answer(answer, self.now_ms)
        return answer


class LateAccess(Access):
    """Asked about all that access can be asked about."""

    def __init__(self, questions: Questions) -> None:
        super().__init__()
        self.questions = questions
        self.authenticates = questions.random.random() < 0.7
        self.authorizes_publish = questions.random.random() < 0.5
        self.authorizes_subscribe = questions.random.random() < 0.7

    def decide(self, requests: list[Request]) -> None:
        questions = self.questions
        several = True
        for request in requests:
            question = questions.put(request)
            if several and questions.at_once(question):
                answer = questions.decide(question)
                request.answer(0 if request.kind == SUBSCRIBE else answer[0])
                several = questions.several


class LateUplink(Uplink):
    """A cluster of which this broker is one node."""

    def __init__(self, questions: Questions) -> None:
        super().__init__()
        self.questions = questions
        self.enabled = True
        self.waiting: dict[int, Request] = {}  # of the broker: its open questions by token
        self.sealed = 0
        self.published = 0
        self.routes: dict[bytes, bool] = {}

    def seal(self, ticket: int) -> None:
        self.sealed = ticket

    def commit(self) -> None:
        """The cluster has taken all that was sealed."""
        self.stored = self.sealed

    def publish(self, publish: Publish, ticket: int) -> None:
        self.published += 1

    def route_added(self, topic_filter: bytes) -> None:
        if self.routes.setdefault(topic_filter, False):
            raise Violation(f"route {topic_filter!r} was added twice")
        self.routes[topic_filter] = True

    def route_removed(self, topic_filter: bytes) -> None:
        if not self.routes.pop(topic_filter, False):
            raise Violation(f"route {topic_filter!r} was removed and not there")

    def acquire(self, client_id: str, token: int) -> bool:
        return self._ask(token)

    def barrier(self, client_id: str, token: int) -> bool:
        return self._ask(token)

    def _ask(self, token: int) -> bool:
        questions = self.questions
        question = questions.put(self.waiting[token])
        if not questions.at_once(question):
            return False
        questions.decide(question)
        return True

    def pick(self, share_name: bytes, members: list[Subscription]) -> int:
        return self.questions.random.randrange(len(members))
