"""Invitations, the bytes of each user's and each room's messages, and indexes to count the rooms of a user."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0006"
down_revision = "gateway_0005"


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("room_id", sa.Integer, sa.ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("inviter_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("invited_at", sa.BigInteger, nullable=False),
    )
    op.create_index("invitations_of_user", "invitations", ["user_id"])
    op.create_index("invitations_by_inviter", "invitations", ["inviter_id"])
    op.drop_index("memberships_of_user", "memberships")
    op.create_index("memberships_of_user", "memberships", ["user_id", "role"])
    op.create_index("memberships_by_role", "memberships", ["room_id", "role", "joined_at"])
    for table in ("rooms", "users"):
        op.add_column(table, sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
    # As SQL: for a reference, Alembic would make SQLite copy the table, and lose the references to it.
    op.execute("ALTER TABLE rooms ADD COLUMN left_by TEXT REFERENCES users (id)")
    left = sa.text("left_by IS NOT NULL")
    op.create_index("rooms_left_by", "rooms", ["left_by"], sqlite_where=left, postgresql_where=left)
    _count("rooms", "room_id")
    _count("users", "sender_id")


def downgrade() -> None:
    op.drop_index("rooms_left_by", "rooms")
    op.drop_column("rooms", "left_by")
    for table in ("users", "rooms"):
        op.drop_column(table, "stored_bytes")
    op.drop_index("memberships_by_role", "memberships")
    op.drop_index("memberships_of_user", "memberships")
    op.create_index("memberships_of_user", "memberships", ["user_id"])
    op.drop_table("invitations")


def _count(table: str, key: str) -> None:
    """Count the bytes of the existing messages, as `gateway.store.storage` does."""
    size = " + ".join(["200", *(f"coalesce({_octets(column)}, 0)" for column in ("text", "body"))])
    sums = f"SELECT {key} AS id, sum({size}) AS stored FROM messages GROUP BY {key}"  # noqa: S608 - constant names
    op.execute(f"UPDATE {table} SET stored_bytes = sums.stored FROM ({sums}) AS sums WHERE {table}.id = sums.id")  # noqa: S608


def _octets(column: str) -> str:
    if op.get_bind().dialect.name == "sqlite":
        return f"length(CAST({column} AS BLOB))"
    return f"octet_length({column})"
