"""The tables, as the newest migration leaves them. Times are milliseconds since 1970, UTC."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),  # never changes and is never used again, unlike a name
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("full_name", Text),
    Column("email", Text),
    Column("scopes", Text, nullable=False),  # separated by spaces, as in a token
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("title", Text),
    Column("private", Boolean, nullable=False),
    Column("epoch", Text, nullable=False),  # of the log: made with the room, so a room made anew has another
    Column("offset", BigInteger, nullable=False),  # the highest that the log has given out
    Column("created_at", BigInteger, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    Index("memberships_of_user", "user_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("changed", BigInteger, nullable=False),  # the offset of its last event
    Column("sender_id", ForeignKey("users.id"), nullable=False),
    Column("text", Text),
    Column("body", JSON(none_as_null=True)),
    Column("sent_at", BigInteger, nullable=False),
    UniqueConstraint("room_id", "changed"),
)
