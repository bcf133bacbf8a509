"""The number of departures of each room, so that an old departure removes no member that has joined again."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0005"
down_revision = "gateway_0004"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("departures", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("rooms", "departures")
