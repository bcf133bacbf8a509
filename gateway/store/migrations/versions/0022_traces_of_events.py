"""The trace that an event for another service belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0022"
down_revision = "gateway_0021"
readable_from = "gateway_0021"  # its events have no trace, which the column allows


def upgrade() -> None:
    op.add_column("outgoing_events", sa.Column("trace", sa.Text))


def downgrade() -> None:
    op.drop_column("outgoing_events", "trace")
