"""Messages that grow: when a piece was added last, and whether it was the last one."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0020"
down_revision = "gateway_0019"


def upgrade() -> None:
    op.add_column("messages", sa.Column("grown_at", sa.BigInteger))
    op.add_column("messages", sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for column in ("done", "grown_at"):
        op.drop_column("messages", column)
