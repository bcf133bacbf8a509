"""What PostgreSQL is to expect of columns of which one value may have most of a table's rows."""

from alembic import op

revision = "gateway_0013"
down_revision = "gateway_0012"

_COLUMNS = (("messages", "room_id"), ("memberships", "room_id"), ("memberships", "user_id"), ("invitations", "room_id"))


def upgrade() -> None:
    _for_each("SET (n_distinct = -0.01)")


def downgrade() -> None:
    _for_each("RESET (n_distinct)")


def _for_each(change: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column in _COLUMNS:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} {change}")
        for table in dict(_COLUMNS):
            op.execute(f"ANALYZE {table}")  # or it would count only from the next one on
