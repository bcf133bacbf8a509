"""Pages of a room's messages, for `Database.fetch_bounded`: each stops after the messages that reach its bytes."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    UnaryExpression,
    bindparam,
    func,
    select,
    true,
)

from gateway.store.prepared import Sql, Statement
from gateway.store.tables import messages, users

_ROOM, _MOST = bindparam("room", type_=Integer()), bindparam("most", type_=Integer())
_OFFSET, _MAX_BYTES = bindparam("offset", type_=BigInteger()), bindparam("max_bytes", type_=BigInteger())


Order = Callable[[FromClause], ColumnElement[Any] | UnaryExpression[Any]]
"""A function that returns the order of a table of messages."""


def _statement(condition: ColumnElement[bool], order: Order) -> Statement:
    def write(database: str) -> Sql:
        some = messages.c.room_id == _ROOM, condition
        if database == "sqlite":
            return _joined(messages).where(*some).order_by(order(messages)).limit(_MOST)
        page = select(messages).where(*some).order_by(order(messages)).limit(_MOST)
        return _bounded(page.subquery(), order)

    return Statement(write, sized=("text", "body"))


def _bounded(page: FromClause, order: Order) -> Select[Any]:
    """Leave out of a page the messages whose predecessors reach `max_bytes`."""
    size = func.coalesce(func.octet_length(page.c.text), 0) + func.coalesce(func.octet_length(page.c.body), 0)
    earlier = func.sum(size).over(order_by=order(page), rows=(None, -1))
    sized = select(page, func.coalesce(earlier, 0).label("earlier")).subquery()
    return _joined(sized).where(sized.c.earlier < _MAX_BYTES).order_by(order(sized))


def _joined(table: FromClause) -> Select[Any]:
    columns = [table.c[column.name] for column in messages.c]
    return select(*columns, users.c.name.label("sender")).join(users, users.c.id == table.c.sender_id)


def _newest_first(table: FromClause) -> UnaryExpression[Any]:
    return table.c.offset.desc()


NEWEST = _statement(true(), _newest_first)
"""Reads up to `most` messages of a room, newest first."""

BEFORE = _statement(messages.c.offset < _OFFSET, _newest_first)
"""Does the same before an offset."""

AFTER = _statement(messages.c.offset > _OFFSET, lambda table: table.c.offset)
"""Reads up to `most` messages of a room after an offset, oldest first."""

NEWEST_CHANGES = _statement(true(), lambda table: table.c.changed.desc())
"""Reads up to `most` messages of a room that changed last, newest change first."""


def part(before: int | None, after: int | None) -> tuple[Statement, dict[str, int]]:
    """Return the statement for messages after an offset, or before one, or from the end, with its parameters."""
    if after is not None:
        return AFTER, {"offset": after}
    return (NEWEST, {}) if before is None else (BEFORE, {"offset": before})
