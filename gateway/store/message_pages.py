"""Pages of a room's messages, for `Database.fetch_bounded`: each stops after the messages that reach its bytes."""

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


def _statement(condition: ColumnElement[bool], *, newest_first: bool) -> Statement:
    def write(database: str) -> Sql:
        some = messages.c.room_id == _ROOM, condition
        if database == "sqlite":
            return _joined(messages).where(*some).order_by(_order(messages, newest_first=newest_first)).limit(_MOST)
        page = select(messages).where(*some).order_by(_order(messages, newest_first=newest_first)).limit(_MOST)
        return _bounded(page.subquery(), newest_first=newest_first)

    return Statement(write, sized=("text", "body"))


def _bounded(page: FromClause, *, newest_first: bool) -> Select[Any]:
    """Leave out of a page the messages whose predecessors reach `max_bytes`."""
    size = func.coalesce(func.octet_length(page.c.text), 0) + func.coalesce(func.octet_length(page.c.body), 0)
    earlier = func.sum(size).over(order_by=_order(page, newest_first=newest_first), rows=(None, -1))
    sized = select(page, func.coalesce(earlier, 0).label("earlier")).subquery()
    query = _joined(sized).where(sized.c.earlier < _MAX_BYTES)
    return query.order_by(_order(sized, newest_first=newest_first))


def _joined(table: FromClause) -> Select[Any]:
    columns = [table.c[column.name] for column in messages.c]
    return select(*columns, users.c.name.label("sender")).join(users, users.c.id == table.c.sender_id)


def _order(table: FromClause, *, newest_first: bool) -> ColumnElement[Any] | UnaryExpression[Any]:
    return table.c.offset.desc() if newest_first else table.c.offset


NEWEST = _statement(true(), newest_first=True)
"""Reads up to `most` messages of a room, newest first."""

BEFORE = _statement(messages.c.offset < _OFFSET, newest_first=True)
"""Does the same before an offset."""

AFTER = _statement(messages.c.offset > _OFFSET, newest_first=False)
"""Reads up to `most` messages of a room after an offset, oldest first."""


def part(before: int | None, after: int | None) -> tuple[Statement, dict[str, int]]:
    """Return the statement for messages after an offset, or before one, or from the end, with its parameters."""
    if after is not None:
        return AFTER, {"offset": after}
    return (NEWEST, {}) if before is None else (BEFORE, {"offset": before})
