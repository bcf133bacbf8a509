"""Events for other services, which stay until they are delivered.

The events of a stream go out in the order of their ids. After a failure, the first event of a stream waits. The later
ones get its due time once they are found, so a failure costs one row, however many follow.

Every change names the node that makes it. It does nothing if another node sends the hook's events by now.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Text,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from gateway.store.messages import MessageRow
from gateway.store.prepared import ForOne, Rows, Script, Sql, Statement, among_items, items
from gateway.store.rooms import RoomRow
from gateway.store.tables import memberships, messages, outgoing_events, rooms, users, webhooks
from gateway.store.writes import for_each

_NEW = ("webhook", "stream", "event_id", "type", "data", "room_id", "offset", "due_at", "created_at", "trace")
_WAITING = ("id", "stream", "event_id", "type", "attempts", "created_at", "due_at", "room_id", "offset", "trace")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to store. One with a `room_id` is made of the message at `offset`, when it is due."""

    webhook: str
    stream: str
    event_id: str
    type: str
    data: str
    """JSON."""
    created_at: int
    due_at: int = 0
    room_id: int | None = None
    offset: int | None = None
    trace: str | None = None
    """The `traceparent` of what has caused it."""

    def values(self) -> tuple[Any, ...]:
        """Return what `ADD` takes of it."""
        return tuple(getattr(self, name) for name in _NEW)


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that waits, without its data."""

    id: int
    stream: str
    event_id: str
    type: str
    attempts: int
    created_at: int
    due_at: int
    room_id: int | None
    offset: int | None
    trace: str | None
    size: int
    """The characters of its data."""
    previous_id: int | None
    """The event before it in its stream, if that one waits too."""
    previous_due_at: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: when the next one is due, or when the event was parked."""

    event: WaitingEvent
    due_at: int
    parked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What waits for a hook. Times are milliseconds since 1970."""

    waiting: int = 0
    parked: int = 0
    oldest_at: int | None = None
    """Since when the oldest waiting event waits for its receiver. If all wait for their own time, this is the first."""


def _add(database: str) -> Sql:
    values = items(database, *(outgoing_events.c[name].type for name in _NEW))
    return insert(outgoing_events).from_select(list(_NEW), select(*values))


def _next(database: str) -> Sql:
    event, before = outgoing_events, outgoing_events.alias()
    same = (before.c.webhook == event.c.webhook) & (before.c.stream == event.c.stream)
    earlier = select(before.c.id).where(same, before.c.id < event.c.id, before.c.parked_at.is_(None))
    last = earlier.order_by(before.c.id.desc()).limit(1).correlate(event)
    previous = [last.with_only_columns(before.c[name]).scalar_subquery() for name in ("id", "due_at")]
    of_hook = event.c.webhook == bindparam("webhook", type_=Text()), event.c.parked_at.is_(None)
    due = event.c.due_at <= bindparam("now", type_=BigInteger())
    columns = [*(event.c[name] for name in _WAITING), func.length(event.c.data).label("size")]
    columns += [each.label(f"previous_{name}") for each, name in zip(previous, ("id", "due_at"), strict=True)]
    query = select(*columns).where(*of_hook, due)
    query = query.where(event.c.stream.not_in(select(*items(database, Text()))))
    return query.order_by(event.c.due_at, event.c.id).limit(bindparam("most", type_=Integer()))


def _data(database: str) -> Sql:
    return select(outgoing_events.c.id, outgoing_events.c.data).where(among_items(database, outgoing_events.c.id))


def _hold(_: str) -> Sql:
    mine = (webhooks.c.name == bindparam("webhook")) & (webhooks.c.owner == bindparam("owner"))
    return select(webhooks.c.name).where(mine).with_for_update()


def _these(database: str) -> ColumnElement[bool]:
    """Return the condition for the events of the items, each a number and an event's own id.

    SQLite may use a number again, and an answer to a commit may be lost. The event's own id makes it certain.
    """
    values = items(database, BigInteger(), Text())
    columns = outgoing_events.c.id, outgoing_events.c.event_id
    if isinstance(database, ForOne):
        return and_(*(column == value for column, value in zip(columns, values, strict=True)))
    if database == "sqlite":
        return and_(*(column.in_(select(value)) for column, value in zip(columns, values, strict=True)))
    # Arrays, which the database looks up. It might search them for each row of its table.
    arrays = (any_(func.array(select(value).scalar_subquery())) for value in values)
    return and_(*(column == array for column, array in zip(columns, arrays, strict=True)))


def _delete(database: str) -> Sql:
    return delete(outgoing_events).where(_these(database))


def _postpone(database: str) -> Sql:
    due_at = bindparam("due_at", type_=BigInteger())
    return update(outgoing_events).where(_these(database)).values(due_at=due_at)


def _fail(database: str) -> Sql:
    changes = {name: bindparam(name, type_=BigInteger()) for name in ("due_at", "parked_at")}
    return update(outgoing_events).where(_these(database)).values(**changes, attempts=outgoing_events.c.attempts + 1)


def _note(_: str) -> Sql:
    change = {"last_error": bindparam("error", type_=Text()), "failed_at": bindparam("now", type_=BigInteger())}
    return update(webhooks).where(webhooks.c.name == bindparam("webhook", type_=Text())).values(change)


ADD = Statement(_add)
"""Stores events, in the form of `NewEvent.values`."""

NEXT = Statement(_next)
"""Reads due events of a hook, except those of some streams."""

DATA = Statement(_data)
"""Reads the data of events, by their ids."""

_HOLD, _NOTE = Statement(_hold), Statement(_note)
DELETE, FAIL, POSTPONE = Statement(_delete), Statement(_fail), Statement(_postpone)


def add(events: Collection[NewEvent]) -> Script[None]:
    """Store events."""
    yield from for_each(ADD, [event.values() for event in events])


def add_one(connection: Connection, event: NewEvent) -> None:
    """Store an event in a plain transaction."""
    connection.execute(insert(outgoing_events).values(dict(zip(_NEW, event.values(), strict=True))))


def from_rows(rows: Rows) -> list[WaitingEvent]:
    """Return the events that `NEXT` has found."""
    return [WaitingEvent(**row) for row in rows]


def settle(
    webhook: str,
    owner: str,
    *,
    delivered: Sequence[WaitingEvent],
    failed: Sequence[Failure],
    later: Sequence[tuple[WaitingEvent, int]],
    error: str | None,
    now: int,
) -> Script[bool]:
    """Remove delivered events, note failed attempts, and let others wait `later`, each until a time.

    Return False, and do nothing, if another node sends the hook's events by now. `error` is the reason of a failure.
    """
    if not (yield _HOLD, {"webhook": webhook, "owner": owner}):
        return False
    yield from for_each(DELETE, [_key(event) for event in delivered])
    for failure in failed:
        yield from _change(FAIL, [failure.event], due_at=failure.due_at, parked_at=failure.parked_at)
    for due_at in dict.fromkeys(until for _, until in later):
        yield from _change(POSTPONE, [event for event, until in later if until == due_at], due_at=due_at)
    if error is not None:
        yield _NOTE, {"webhook": webhook, "error": error, "now": now}
    return True


def _key(event: WaitingEvent) -> tuple[int, str]:
    return event.id, event.event_id


def _change(statement: Statement, events: Sequence[WaitingEvent], **values: int | None) -> Script[None]:
    yield statement, {"items": orjson.dumps([_key(event) for event in events]).decode(), **values}


def figures(connection: Connection) -> dict[str, Figures]:
    """Count the events of all hooks."""
    parked = outgoing_events.c.parked_at.is_not(None)
    # What is made when it is due is not late before that.
    since = case((outgoing_events.c.offset.is_(None), outgoing_events.c.created_at), else_=outgoing_events.c.due_at)
    counts = func.count(), func.count(case((parked, 1))), func.min(case((~parked, since)))
    query = select(outgoing_events.c.webhook, *counts).group_by(outgoing_events.c.webhook)
    return {name: Figures(count - parked, parked, oldest) for name, count, parked, oldest in connection.execute(query)}


def retry(connection: Connection, webhook: str) -> int:
    """Let all events of a hook be due at once, also the parked ones. Return how many were parked."""
    mine = outgoing_events.c.webhook == webhook
    parked = select(func.count()).where(mine, outgoing_events.c.parked_at.is_not(None))
    count: int = connection.execute(parked).scalar_one()
    # Also those that wait for one before them. Only an event for later keeps its time.
    made = mine & outgoing_events.c.offset.is_(None)
    connection.execute(update(outgoing_events).where(made).values(parked_at=None, due_at=0, attempts=0))
    return count


def clear(connection: Connection, webhook: str) -> int:
    """Remove all events of a hook, and return their number."""
    return connection.execute(delete(outgoing_events).where(outgoing_events.c.webhook == webhook)).rowcount


def message(connection: Connection, room_id: int, offset: int) -> tuple[RoomRow, MessageRow] | None:
    """Return a message and its room, or None if either is gone or deleted."""
    found = connection.execute(select(rooms).where(rooms.c.id == room_id, rooms.c.removed_at.is_(None))).one_or_none()
    query = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    at = (messages.c.room_id == room_id) & (messages.c.offset == offset) & messages.c.deleted_at.is_(None)
    row = connection.execute(query.where(at)).one_or_none()
    if found is None or row is None:
        return None
    return RoomRow(**found._mapping), MessageRow(**row._mapping)


def unread_by(connection: Connection, message: MessageRow, after: str, limit: int) -> list[tuple[str, str]]:
    """List members that have not read a message, with ids after `after`: their ids and names, in the order of ids."""
    behind = (memberships.c.room_id == message.room_id) & (memberships.c.read < message.offset)
    others = (memberships.c.user_id > after) & (memberships.c.user_id != message.sender_id)
    query = select(memberships.c.user_id, users.c.name).join(users, users.c.id == memberships.c.user_id)
    query = query.where(behind, others, ~users.c.disabled).order_by(memberships.c.user_id).limit(limit)
    return [(user_id, name) for user_id, name in connection.execute(query)]


def replace_page(
    connection: Connection, owner: str, event: WaitingEvent, page: NewEvent | None, webhook: str, rest: str | None
) -> bool:
    """Store one page of an event that was made, and what is left to do, or None for nothing.

    Return False, and do nothing, if another node sends the hook's events by now.
    """
    mine = (webhooks.c.name == webhook) & (webhooks.c.owner == owner)
    if connection.execute(select(webhooks.c.name).where(mine).with_for_update()).one_or_none() is None:
        return False
    if page is not None:
        add_one(connection, page)
    made = (outgoing_events.c.id == event.id) & (outgoing_events.c.event_id == event.event_id)
    if rest is None:
        connection.execute(delete(outgoing_events).where(made))
    else:
        connection.execute(update(outgoing_events).where(made).values(data=rest))
    return True
