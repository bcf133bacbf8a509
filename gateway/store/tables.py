"""The tables, as the newest migration leaves them. Times are milliseconds since 1970 in UTC."""

from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    insert,
    text,
    true,
)

metadata = MetaData()

VERSION_TABLE = "json_gateway_version"
"""The table with the revision of these tables."""

versions = Table(
    VERSION_TABLE,
    MetaData(),  # of its own, because Alembic makes this table as well
    Column("version_num", String(32), nullable=False),
    Column("readable_from", String(32)),  # the oldest version of the gateway's code that may use the tables
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)


def where(condition: str) -> dict[str, Any]:
    """Limit an index to the rows that meet a condition. `create_tables` passes it on to the database in use.

    Options by the databases' names would make SQLAlchemy import all that it has for each of them.
    """
    return {"info": {"where": condition}}


CROWDED = (("messages", "room_id"), ("memberships", "room_id"), ("memberships", "user_id"), ("invitations", "room_id"))
"""Columns of which one value may have most of a table's rows."""


def expect_crowds(connection: Connection) -> None:
    """Let PostgreSQL expect many rows with one value of such a column, against its statistics.

    It keeps plans that fit the average value. Where most rooms have one message, it would look one message up among all
    messages of its room.
    """
    if connection.dialect.name == "postgresql":
        for table, column in CROWDED:
            connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN {column} SET (n_distinct = -0.01)"))


def create_tables(connection: Connection, version: str, readable_from: str) -> None:
    """Create all tables in a database without them, and store their version and the oldest that may use them."""
    for index in (index for table in metadata.tables.values() for index in table.indexes if "where" in index.info):
        index.dialect_options[connection.dialect.name]["where"] = text(index.info["where"])
    metadata.create_all(connection, checkfirst=False)
    expect_crowds(connection)
    versions.create(connection, checkfirst=True)
    connection.execute(insert(versions).values(version_num=version, readable_from=readable_from))


class JsonText(TypeDecorator[Any]):
    """Any JSON value, stored as text. SQLite's own JSON columns change some numbers."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return a value as text."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a text."""
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
    Column("disabled_at", BigInteger),  # only for disabled users
    Column("stored_bytes", BigInteger, nullable=False, server_default="0"),  # the bytes of the user's messages
    Column("room_rights", Text),  # what its groups allow together, as JSON; null without a group
    # The row of a deleted user keeps the name from others, and its messages if they stay. The row without a name that
    # leads back, which takes over messages, counts as deleted too.
    Column("deleted_at", BigInteger),
    Column("successor_id", Text),  # the row that takes over the messages, while that is under way
    Index("users_by_disabling", "disabled_at", **where("disabled_at IS NOT NULL")),
)

# A login session has a family of refresh tokens, one of which is valid at a time, and the access tokens made with
# them. Refresh tokens are stored only as hashes: SHA-256 in hexadecimal.
login_sessions = Table(
    "login_sessions",
    metadata,
    Column("id", Text, primary_key=True),  # the `sid` of its access tokens
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("family_hash", Text, unique=True),  # of the common part of its refresh tokens; null without any
    Column("refresh_hash", Text),  # of the valid refresh token
    Column("previous_hash", Text),  # of the refresh token that was used last
    Column("nonce", Text),  # from this and the last used token, the valid one can be derived
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),  # when a refresh token was used last
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
    Column("epoch", Text, nullable=False),  # of the log; a room that is made again has a new one
    Column("offset", BigInteger, nullable=False),  # the highest offset in the log
    Column("pruned", BigInteger, nullable=False, server_default="0"),  # the highest offset of a pruned event
    Column("created_at", BigInteger, nullable=False),
    Column("departures", BigInteger, nullable=False, server_default="0"),  # how many memberships have ended
    Column("stored_bytes", BigInteger, nullable=False, server_default="0"),  # the bytes of the room's messages
    Column("left_by", ForeignKey("users.id")),  # the user that was its last member
    Column("removed_at", BigInteger),  # when it was deleted; the row stays until its last message is removed
    Column("arrivals", BigInteger, nullable=False, server_default="0"),  # how many memberships have begun
    # Bounds that only `pruning` moves, so that retention leaves quiet rooms alone: no message has changed before
    # `oldest_at`, and at least `vacant` offsets have no message any more.
    Column("oldest_at", BigInteger, nullable=False, server_default="0"),
    Column("vacant", BigInteger, nullable=False, server_default="0"),
    Column("kept", Boolean, nullable=False, server_default=false()),  # made by a service: it stays without members
    Column("signals", Boolean, nullable=False, server_default=true()),  # whether it takes signals
    Index("rooms_left_by", "left_by", **where("left_by IS NOT NULL")),
    Index("public_rooms", "name", **where("NOT private")),
    Index("rooms_by_removal", "removed_at", **where("removed_at IS NOT NULL")),
    Index("rooms_by_age", "oldest_at"),
)

# True for every row. An index with this condition serves only queries that name it too. Without it, PostgreSQL may look
# one membership up among all members of a room: where most rooms are small, it expects to find few.
_AMONG_MEMBERS = "joined_at >= 0"
AMONG_MEMBERS = text(f"memberships.{_AMONG_MEMBERS}")
"""The condition of every query that finds members of a room other than by their ids."""

memberships = Table(
    "memberships",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    Column("read", BigInteger, nullable=False, server_default="0"),  # the offset up to which the member has read
    # Copies of names, which never change: a page of members or rooms is read along an index.
    Column("user_name", Text, nullable=False, server_default=""),
    Column("room_name", Text, nullable=False, server_default=""),
    Index("memberships_of_user", "user_id", "role"),
    Index("memberships_by_role", "room_id", "role", "joined_at", **where(_AMONG_MEMBERS)),
    Index("memberships_by_user_name", "room_id", "user_name", **where(_AMONG_MEMBERS)),
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
    Column("grown_at", BigInteger),  # when a piece was added last, unless it was edited since
    Column("done", Boolean, nullable=False, server_default=false()),  # it grows no more
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
    Column("hash", Text, primary_key=True),  # SHA-256: a reader of the table cannot use it as a ticket
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("service", Text, nullable=False),  # the service that checked the token of the ticket's buyer
    Column("sid", Text),  # the session of that token, if it was the gateway's own
    Column("scopes", Text, nullable=False),
    Column("token_expires_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("room_rights", Text),  # the rights by room of that token; null without any
    Column("claims", JsonText),  # the claims of that token; null if no upstream service may need them
)

# A group has rights by room, which its members get. A user without a group has no restriction.
groups = Table(
    "groups",
    metadata,
    Column("name", Text, primary_key=True),
    Column("room_rights", Text, nullable=False),
    Column(
        "version", BigInteger, nullable=False, server_default="0"
    ),  # the number of its last change, among those of all
    Index("groups_by_version", "version"),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_name", ForeignKey("groups.name"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Index("groups_of_user", "user_id"),
)

# A service is a backend program with keys. Its row in `users` lets messages point to their sender; no log-in finds it,
# because its name begins with `service:`.
services = Table(
    "services",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # the user's name without `service:`
    Column("kind", Text, nullable=False),  # `service`, or `hook` for an incoming webhook
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("rooms", Text),  # patterns of room names, separated by spaces; null for every room
    Column("room", Text),  # the room of an incoming webhook
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),  # the row stays, because messages point to its user
)

service_keys = Table(
    "service_keys",
    metadata,
    Column("id", Text, primary_key=True),  # also the id of its login session, and so the `sid` of its tokens
    Column("user_id", ForeignKey("services.user_id", ondelete="CASCADE"), nullable=False),
    Column("hash", Text, nullable=False),  # SHA-256 of the key's secret part, in hexadecimal
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("expires_at", BigInteger),  # the end of the overlap, after a rotation
    Column("revoked_at", BigInteger),
    Index("service_keys_of_service", "user_id"),
    Index("service_keys_by_expiry", "expires_at", **where("expires_at IS NOT NULL")),
)

# What the gateway knows of each hook of the routes file, by the name of its table there.
webhooks = Table(
    "webhooks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False, server_default=""),  # the node that sends its events, or empty
    Column("beat", BigInteger, nullable=False, server_default="0"),  # changes while the owner lives
    Column("disabled_at", BigInteger),  # when its receiver has answered 410
    Column("failed_at", BigInteger),  # when a delivery has failed last
    Column("last_error", Text),  # the reason of that
)

# A row for each event and each hook that wants it, until the event is delivered.
outgoing_events = Table(
    "outgoing_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("webhook", Text, nullable=False),
    Column("stream", Text, nullable=False),  # a room or a user: the events of a stream are sent in their order
    Column("event_id", Text, nullable=False),  # what the receiver knows it by, the same in each attempt
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("room_id", Integer),  # of an event that is made when it is due: the message that it is about
    Column("offset", BigInteger),
    Column("due_at", BigInteger, nullable=False, server_default="0"),  # 0 for at once
    Column("attempts", Integer, nullable=False, server_default="0"),  # those that have failed
    Column("parked_at", BigInteger),  # when the last attempt has failed
    Column("created_at", BigInteger, nullable=False),
    Column("trace", Text),  # the `traceparent` of what has caused it, if that has one
    Index("outgoing_events_by_due", "webhook", "due_at", "id", **where("parked_at IS NULL")),
    Index("outgoing_events_of_stream", "webhook", "stream", "id", **where("parked_at IS NULL")),
    Index("outgoing_events_parked", "webhook", **where("parked_at IS NOT NULL")),
)

# What a hook has been told: users that are connected, and rooms that are occupied. So no restart loses their end.
webhook_presence = Table(
    "webhook_presence",
    metadata,
    Column("webhook", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # user or room
    Column("name", Text, primary_key=True),
)
