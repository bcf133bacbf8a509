"""Events for other services: those that wait, what is known of each hook, and what each has been told."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0015"
down_revision = "gateway_0014"

_WAITING = sa.text("parked_at IS NULL")
_PARKED = sa.text("parked_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("beat", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("failed_at", sa.BigInteger),
        sa.Column("last_error", sa.Text),
    )
    op.create_table(
        "outgoing_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("webhook", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("room_id", sa.Integer),
        sa.Column("offset", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("parked_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    for name, columns, condition in (
        ("outgoing_events_by_due", ["webhook", "due_at", "id"], _WAITING),
        ("outgoing_events_of_stream", ["webhook", "stream", "id"], _WAITING),
        ("outgoing_events_parked", ["webhook"], _PARKED),
    ):
        op.create_index(name, "outgoing_events", columns, sqlite_where=condition, postgresql_where=condition)
    op.create_table(
        "webhook_presence",
        sa.Column("webhook", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
    )


def downgrade() -> None:
    for table in ("webhook_presence", "outgoing_events", "webhooks"):
        op.drop_table(table)
