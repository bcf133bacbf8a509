"""A number of each group that grows with its changes, so that nodes notice them."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0018"
down_revision = "gateway_0017"


def upgrade() -> None:
    op.add_column("groups", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("groups", "version")
