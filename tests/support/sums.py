"""The bytes of messages that are counted for each user and each room."""

from sqlalchemy import Connection, select

from gateway.store import tables
from gateway.store.storage import size_of


def check_sums(connection: Connection) -> None:
    """Compare the sums with the messages."""
    rows = connection.execute(select(tables.messages)).all()
    for table, column in ((tables.rooms, "room_id"), (tables.users, "sender_id")):
        for id, stored in connection.execute(select(table.c.id, table.c.stored_bytes)):
            mine = [row for row in rows if getattr(row, column) == id]
            assert stored == sum(size_of(row.text, row.body) for row in mine), (table.name, id)
