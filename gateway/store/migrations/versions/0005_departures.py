"""How many have left each room, so that nobody is sent away for having left before."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0005"
down_revision = "gateway_0004"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("departures", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("rooms", "departures")
