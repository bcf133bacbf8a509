"""Edits, deletions, replies, read positions, direct rooms, and logs without their pruned beginnings."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0002"
down_revision = "gateway_0001"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("direct", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("rooms", sa.Column("pruned", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("memberships", sa.Column("read", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("messages", sa.Column("reply_to", sa.BigInteger))
    op.add_column("messages", sa.Column("client_id", sa.Text))
    op.add_column("messages", sa.Column("edited_at", sa.BigInteger))
    op.add_column("messages", sa.Column("deleted_at", sa.BigInteger))
    op.create_index(
        "messages_by_client_id",
        "messages",
        ["room_id", "sender_id", "client_id"],
        sqlite_where=sa.text("client_id IS NOT NULL"),
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("messages_by_client_id", "messages")
    for column in ("deleted_at", "edited_at", "client_id", "reply_to"):
        op.drop_column("messages", column)
    op.drop_column("memberships", "read")
    op.drop_column("rooms", "pruned")
    op.drop_column("rooms", "direct")
