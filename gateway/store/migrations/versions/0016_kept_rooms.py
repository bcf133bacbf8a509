"""Rooms that a service has made: they stay without members."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0016"
down_revision = "gateway_0015"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("kept", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("rooms", "kept")
