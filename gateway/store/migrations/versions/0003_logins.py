"""Login sessions, which can be ended, and the time at which a user was disabled."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0003"
down_revision = "gateway_0002"


def upgrade() -> None:
    op.add_column("users", sa.Column("disabled_at", sa.BigInteger))
    op.execute("UPDATE users SET disabled_at = 0 WHERE disabled")
    _index("users_by_disabling", "users", "disabled_at")
    op.create_table(
        "logins",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("family_hash", sa.Text, unique=True),
        sa.Column("refresh_hash", sa.Text),
        sa.Column("previous_hash", sa.Text),
        sa.Column("nonce", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("address", sa.Text),
        sa.Column("user_agent", sa.Text),
    )
    op.create_index("logins_of_user", "logins", ["user_id"])
    _index("logins_by_end", "logins", "ended_at")
    op.create_index("logins_by_expiry", "logins", ["expires_at"])


def downgrade() -> None:
    op.drop_table("logins")
    op.drop_index("users_by_disabling", "users")
    op.drop_column("users", "disabled_at")


def _index(name: str, table: str, column: str) -> None:
    there = sa.text(f"{column} IS NOT NULL")
    op.create_index(name, table, [column], sqlite_where=there, postgresql_where=there)
