"""The table `login_sessions`, which was `logins`, with all its rows."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0009"
down_revision = "gateway_0008"


def upgrade() -> None:
    _rename("logins", "login_sessions")


def downgrade() -> None:
    _rename("login_sessions", "logins")


def _rename(old: str, new: str) -> None:
    # SQLite cannot rename an index. The rows, their references and their keys stay.
    for ending in ("of_user", "by_end", "by_expiry"):
        op.drop_index(f"{old}_{ending}", old)
    op.rename_table(old, new)
    op.create_index(f"{new}_of_user", new, ["user_id"])
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(f"{new}_by_end", new, ["ended_at"], sqlite_where=ended, postgresql_where=ended)
    op.create_index(f"{new}_by_expiry", new, ["expires_at"])
    if op.get_bind().dialect.name == "postgresql":
        for ending in ("pkey", "family_hash_key", "user_id_fkey"):
            op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {old}_{ending} TO {new}_{ending}")
