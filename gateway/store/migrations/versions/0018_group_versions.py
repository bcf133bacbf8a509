"""The number of the last change of each group, so that nodes notice changes."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0018"
down_revision = "gateway_0017"


def upgrade() -> None:
    op.add_column("groups", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("groups_by_version", "groups", ["version"])


def downgrade() -> None:
    op.drop_index("groups_by_version", "groups")
    op.drop_column("groups", "version")
