"""The statements of a batch of changes to rooms' logs: each does its work for many items in one call.

What a change may do, and what it comes to, is decided in `gateway.rooms.message_changes`.
"""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import BigInteger, ColumnElement, Integer, Select, Text, and_, bindparam, insert, select, true, update

from gateway.store.messages import MessageRow
from gateway.store.prepared import ForOne, Rows, Script, Sql, Statement, among_items, items
from gateway.store.tables import memberships, messages, rooms, users


def for_each(statement: Statement, items: Collection[tuple[Any, ...]], **more: int) -> Script[Rows]:
    """Run a statement for each item, if there are any."""
    if not items:
        return []
    if len(items) == 1:
        [item] = items
        return (yield statement.for_one, {f"item_{number}": value for number, value in enumerate(item)} | more)
    return (yield statement, {"items": _json_text(list(items)), **more})


def _each(database: str, query: Select[Any], keys: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Run a query that finds at most a few rows along one index, for each item."""
    values = items(database, *(key.type for key in keys))
    if database == "sqlite":
        return query.where(*_same(keys, values))
    if isinstance(database, ForOne):
        return _along_index(query, keys, values)
    # A lateral query, since a join may begin with the other table. PostgreSQL keeps a plan from when it was small.
    each = select(*(value.label(f"value_{number}") for number, value in enumerate(values))).subquery()
    found = _along_index(query, keys, list(each.c)).offset(0).lateral()
    return select(*found.c).select_from(each.join(found, true()))


def _along_index(
    query: Select[Any], keys: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """Find rows by an index with these columns. PostgreSQL may choose another one with the same first column.

    An order that only this index has makes it the cheapest, also in a small table. A column that equals a value has no
    order, so the last one is between the value and itself.
    """
    *first, last = keys
    return query.where(*_same(first, values), last >= values[-1], last <= values[-1]).order_by(last)


def _same(keys: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]) -> list[ColumnElement[bool]]:
    return [key == value for key, value in zip(keys, values, strict=False)]


def _rooms(database: str) -> Sql:
    # In a fixed order, so that two nodes never wait for each other.
    return select(rooms).where(among_items(database, rooms.c.name)).order_by(rooms.c.name).with_for_update()


def _roles(database: str) -> Sql:
    # Subqueries, since a join may begin with all memberships of the user.
    room_id, user_id = items(database, Integer(), Text())
    each = select(room_id.label("room_id"), user_id.label("user_id")).subquery()
    mine = and_(memberships.c.room_id == each.c.room_id, memberships.c.user_id == each.c.user_id)
    role = select(memberships.c.role).where(mine).scalar_subquery()
    stored = select(users.c.stored_bytes).where(users.c.id == each.c.user_id).scalar_subquery()
    return select(each.c.room_id, each.c.user_id, role.label("role"), stored.label("stored_bytes"))


def _about(database: str) -> Sql:
    return _each(database, _MESSAGES, [messages.c.room_id, messages.c.offset])


def _sent(database: str) -> Sql:
    # In no order: the database would read the whole log, which has one, in place of the index of these ids.
    query = _MESSAGES.where(messages.c.sent_at > bindparam("after"))
    return _each(database, query, [messages.c.room_id, messages.c.sender_id, messages.c.client_id])


def _move(database: str) -> Sql:
    room_id, offset, stored_bytes = items(database, Integer(), BigInteger(), BigInteger())
    return update(rooms).where(rooms.c.id == room_id).values(offset=offset, stored_bytes=stored_bytes)


def _add(database: str) -> Sql:
    return insert(messages).from_select(_NEW, select(*items(database, *(messages.c[name].type for name in _NEW))))


def _change(database: str) -> Sql:
    room_id, offset, *values = items(database, *(messages.c[name].type for name in _CHANGED))
    return (
        update(messages)
        .where(messages.c.room_id == room_id, messages.c.offset == offset)
        .values(dict(zip(_CHANGED[2:], values, strict=True)))
    )


def _disown(database: str) -> Sql:
    # Apart from `_change`, which no edit need pay for.
    room_id, offset, sender_id = items(database, Integer(), BigInteger(), Text())
    mine = messages.c.room_id == room_id, messages.c.offset == offset
    return update(messages).where(*mine).values(sender_id=sender_id, client_id=None)


_NEW = ("room_id", "offset", "changed", "sender_id", "text", "body", "reply_to", "client_id", "sent_at")
"""The columns of a new message, as `new_values` returns them, in their order."""

_CHANGED = ("room_id", "offset", "changed", "text", "body", "edited_at", "deleted_at", "grown_at", "done")
"""The columns of a changed message, as `changed_values` returns them. The first two identify it."""

_MESSAGES: Select[Any] = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)

ROOMS, ROLES, ABOUT, SENT = Statement(_rooms), Statement(_roles), Statement(_about), Statement(_sent)
MOVE, ADD, CHANGE, DISOWN = Statement(_move), Statement(_add), Statement(_change), Statement(_disown)


def new_values(row: MessageRow) -> tuple[Any, ...]:
    """Return what `ADD` takes of a new message."""
    return _values(row, _NEW_OF(row), _NEW.index("body"))


def changed_values(row: MessageRow) -> tuple[Any, ...]:
    """Return what `CHANGE` takes of a changed message."""
    return _values(row, _CHANGED_OF(row), _CHANGED.index("body"))


def _values(row: MessageRow, values: tuple[Any, ...], body: int) -> tuple[Any, ...]:
    return values if row.body is None else (*values[:body], _json_text(row.body), *values[body + 1 :])


_NEW_OF, _CHANGED_OF = attrgetter(*_NEW), attrgetter(*_CHANGED)


def _json_text(value: Any) -> str | None:
    # As `JsonText` does, which is not asked about what is inside the parameter of a statement.
    return None if value is None else orjson.dumps(value).decode()
