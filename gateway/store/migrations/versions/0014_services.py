"""Services and their keys."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0014"
down_revision = "gateway_0013"


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("rooms", sa.Text),
        sa.Column("room", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    op.create_table(
        "service_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("services.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("service_keys_of_service", "service_keys", ["user_id"])
    expires = sa.text("expires_at IS NOT NULL")
    op.create_index(
        "service_keys_by_expiry", "service_keys", ["expires_at"], sqlite_where=expires, postgresql_where=expires
    )


def downgrade() -> None:
    # The users of services would be users with a name that no rule allows.
    op.drop_table("service_keys")
    op.drop_table("services")
