"""Deleted rooms, which stay until their last message is removed."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0008"
down_revision = "gateway_0007"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("removed_at", sa.BigInteger))
    there = sa.text("removed_at IS NOT NULL")
    op.create_index("rooms_by_removal", "rooms", ["removed_at"], sqlite_where=there, postgresql_where=there)


def downgrade() -> None:
    op.execute("DELETE FROM rooms WHERE removed_at IS NOT NULL")
    op.drop_index("rooms_by_removal", "rooms")
    op.drop_column("rooms", "removed_at")
