"""Users that were deleted, and the oldest version that may still use the tables."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0021"
down_revision = "gateway_0020"
readable_from = "gateway_0021"  # earlier gateways let no other version's tables be used


def upgrade() -> None:
    op.add_column("users", sa.Column("deleted_at", sa.BigInteger))
    op.add_column("users", sa.Column("successor_id", sa.Text))
    op.add_column("json_gateway_version", sa.Column("readable_from", sa.String(32)))


def downgrade() -> None:
    op.drop_column("json_gateway_version", "readable_from")
    for column in ("successor_id", "deleted_at"):
        op.drop_column("users", column)
