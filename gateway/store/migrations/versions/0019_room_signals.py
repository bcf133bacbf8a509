"""Rooms that take no signals."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0019"
down_revision = "gateway_0018"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("signals", sa.Boolean, nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.drop_column("rooms", "signals")
