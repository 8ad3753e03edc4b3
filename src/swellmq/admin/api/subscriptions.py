"""Who has subscribed to what: of one client, and of all."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated, Final

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.api.clients import connected, find_session
from swellmq.admin.route import Route
from swellmq.admin.walk import PageQuery, all_keys, cut, smallest
from swellmq.broker.session import Session, Subscription
from swellmq.codec.topic import split_share
from swellmq.server import Server


class SubscriptionItem(msgspec.Struct):
    """One subscription. `topic_filter` is as the client gave it; `share_name` is that of a shared one."""

    client_id: str
    topic_filter: str
    share_name: str | None
    qos: int
    no_local: bool
    retain_as_published: bool
    identifiers: list[int]


class SubscriptionPage(msgspec.Struct):
    """Subscriptions by client id and topic filter."""

    items: list[SubscriptionItem]
    next: str | None


class SubscriptionQuery(PageQuery, forbid_unknown_fields=True):
    """Which subscriptions are listed."""

    topic_filter: Annotated[
        str | None, msgspec.Meta(description="Only those of exactly this filter, with `$share` where it is shared.")
    ] = None


def subscriptions(server: Server, query: SubscriptionQuery) -> Generator[None, None, SubscriptionPage]:
    """The subscriptions of all sessions."""
    core = server.broker.core
    exactly = query.topic_filter.encode() if query.topic_filter is not None else None
    client_id, topic_filter = _read_place(query.after)
    items: list[SubscriptionItem] = []

    def wanted(key: bytes) -> bool:
        session = core.sessions.get(key)
        if session is None or session.first is None:
            return False
        return exactly is None or core.topics.find(session, exactly) is not None

    # Each of these sessions has one at least, so there are enough of them for a page.
    keys, more = yield from smallest(all_keys(core.sessions), client_id, query.limit, wanted)
    if client_id is not None:  # it may have more of them behind the last one of the page before
        keys.insert(0, client_id)
    for key in keys:
        session = core.sessions.get(key)
        if session is None:
            continue
        after = topic_filter if key == client_id else None
        room = query.limit - len(items)
        found, left = yield from _of_session(session, after, room, exactly)
        items.extend(found)
        if left or len(items) == query.limit:
            more = left or more or key != keys[-1]
            break
    place = _write_place(items[-1]) if more and items else None
    return SubscriptionPage(items, place)


def client_subscriptions(server: Server, client_id: str, query: PageQuery) -> Generator[None, None, SubscriptionPage]:
    """The subscriptions of a client that is connected."""
    return (yield from _page_of(connected(server, client_id), query))


def session_subscriptions(server: Server, client_id: str, query: PageQuery) -> Generator[None, None, SubscriptionPage]:
    """The subscriptions of a session, whether its client is connected or away."""
    return (yield from _page_of(find_session(server, client_id), query))


def _page_of(session: Session, query: PageQuery) -> Generator[None, None, SubscriptionPage]:
    after = query.after.encode() if query.after is not None else None
    items, more = yield from _of_session(session, after, query.limit, None)
    return SubscriptionPage(items, items[-1].topic_filter if more else None)


def _of_session(
    session: Session, after: bytes | None, limit: int, exactly: bytes | None
) -> Generator[None, None, tuple[list[SubscriptionItem], bool]]:
    """Subscriptions of one session by filter, and whether there are more; it may have 100,000 of them."""
    by_filter = {one.topic_filter: one for one in session.subscriptions()}
    wanted: Callable[[bytes], bool] | None = None if exactly is None else exactly.__eq__
    keys, more = yield from smallest(cut(list(by_filter)), after, limit, wanted)
    return [make_item(by_filter[key]) for key in keys], more


def make_item(subscription: Subscription) -> SubscriptionItem:
    """What is told of a subscription."""
    share_name, _ = split_share(subscription.topic_filter)
    return SubscriptionItem(
        client_id=subscription.session.client_id,
        topic_filter=subscription.topic_filter.decode(),
        share_name=share_name.decode() or None,
        qos=int(subscription.qos),
        no_local=subscription.no_local,
        retain_as_published=subscription.retain_as_published,
        identifiers=list(subscription.identifiers or ()),
    )


def _read_place(text: str | None) -> tuple[bytes | None, bytes | None]:
    """The client id and the topic filter that a page ended with."""
    if text is None:
        return None, None
    try:
        client_id, topic_filter = msgspec.json.decode(text, type=tuple[str, str])
    except msgspec.MsgspecError:
        raise ApiError(422, "bad_query", "`after` is not the `next` of a page of subscriptions") from None
    return client_id.encode(), topic_filter.encode()


def _write_place(item: SubscriptionItem) -> str:
    return msgspec.json.encode((item.client_id, item.topic_filter)).decode()


ROUTES: Final = (
    Route("GET", "/api/v1/clients/{client_id}/subscriptions", client_subscriptions),
    Route("GET", "/api/v1/sessions/{client_id}/subscriptions", session_subscriptions),
    Route("GET", "/api/v1/subscriptions", subscriptions),
)
