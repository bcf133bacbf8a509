"""The tables, as the newest migration leaves them. Times are milliseconds since 1970, UTC."""

from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

VERSION_TABLE = "json_gateway_version"
"""Where the revision of these tables stands."""


def where(condition: str) -> dict[str, Any]:
    """Keep an index to the rows of which this holds."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class JsonText(TypeDecorator[Any]):
    """Any JSON, stored as its text. SQLite's own JSON columns turn numbers into numbers of its own."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write a value."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read a value."""
        return None if value is None else orjson.loads(value)


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
    Column("disabled_at", BigInteger),  # of who is disabled
    Column("stored_bytes", BigInteger, nullable=False, server_default="0"),  # what the user's messages take up
    Index("users_by_disabling", "disabled_at", **where("disabled_at IS NOT NULL")),
)

# A session is what one log-in began: a family of refresh tokens, of which one holds at a time, and the access tokens
# that came of them. Of refresh tokens there are only hashes here: SHA-256, in hexadecimal.
login_sessions = Table(
    "login_sessions",
    metadata,
    Column("id", Text, primary_key=True),  # the `sid` of its access tokens
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("family_hash", Text, unique=True),  # of what its refresh tokens have in common; null if it has none
    Column("refresh_hash", Text),  # of the one that holds
    Column("previous_hash", Text),  # of the one that was spent last
    Column("nonce", Text),  # which, with that one itself, gives the one that holds
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),  # when a refresh token was spent last
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # when it was ended before its time
    Column("address", Text),
    Column("user_agent", Text),
    Index("login_sessions_of_user", "user_id"),
    Index("login_sessions_by_end", "ended_at", **where("ended_at IS NOT NULL")),
    Index("login_sessions_by_expiry", "expires_at"),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("title", Text),
    Column("private", Boolean, nullable=False),
    Column("direct", Boolean, nullable=False, server_default=false()),  # of two users, made by `direct.open`
    Column("epoch", Text, nullable=False),  # of the log: made with the room, so a room made anew has another
    Column("offset", BigInteger, nullable=False),  # the highest that the log has given out
    Column("pruned", BigInteger, nullable=False, server_default="0"),  # the highest whose event has been pruned
    Column("created_at", BigInteger, nullable=False),
    Column("departures", BigInteger, nullable=False, server_default="0"),  # how many memberships have ended
    Column("stored_bytes", BigInteger, nullable=False, server_default="0"),  # what the room's messages take up
    Column("left_by", ForeignKey("users.id")),  # the user that was its last member
    Column("removed_at", BigInteger),  # of one that has been deleted, until the last of what was said in it is gone
    Index("rooms_left_by", "left_by", **where("left_by IS NOT NULL")),
    Index("public_rooms", "name", **where("NOT private")),
    Index("rooms_by_removal", "removed_at", **where("removed_at IS NOT NULL")),
)

memberships = Table(
    "memberships",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    Column("read", BigInteger, nullable=False, server_default="0"),  # the offset up to which the member has read
    # Copies of names, which never change: a page of members or of rooms is read along an index.
    Column("user_name", Text, nullable=False, server_default=""),
    Column("room_name", Text, nullable=False, server_default=""),
    Index("memberships_of_user", "user_id", "role"),
    Index("memberships_by_role", "room_id", "role", "joined_at"),
    Index("memberships_by_user_name", "room_id", "user_name"),
    Index("memberships_by_room_name", "user_id", "room_name"),
)

# An invitation ends when its user joins or declines it, or when it is taken back.
invitations = Table(
    "invitations",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("inviter_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("invited_at", BigInteger, nullable=False),
    Index("invitations_of_user", "user_id"),
    Index("invitations_by_inviter", "inviter_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("changed", BigInteger, nullable=False),  # the offset of its last event
    Column("sender_id", ForeignKey("users.id"), nullable=False),
    Column("text", Text),
    Column("body", JsonText),
    Column("reply_to", BigInteger),  # an offset of the same room
    Column("client_id", Text),
    Column("sent_at", BigInteger, nullable=False),
    Column("edited_at", BigInteger),
    Column("deleted_at", BigInteger),
    UniqueConstraint("room_id", "changed"),
    # Not unique: after 24 hours a client may use an id again. The lock on the room makes the look-up safe.
    Index(
        "messages_by_client_id",
        "room_id",
        "sender_id",
        "client_id",
        **where("client_id IS NOT NULL"),
    ),
)

tickets = Table(
    "tickets",
    metadata,
    Column("hash", Text, primary_key=True),  # SHA-256: who reads the table cannot use what is in it
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("service", Text, nullable=False),  # who has checked the token that the ticket was bought with
    Column("sid", Text),  # the session of that token, if it was one of ours
    Column("scopes", Text, nullable=False),
    Column("token_expires_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
