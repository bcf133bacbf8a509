"""Indexes of members that only a list of members uses, and no look-up of one membership."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0011"
down_revision = "gateway_0010"

_INDEXES = {
    "memberships_by_role": ["room_id", "role", "joined_at"],
    "memberships_by_user_name": ["room_id", "user_name"],
}


def upgrade() -> None:
    always = sa.text("joined_at >= 0")
    for name, columns in _INDEXES.items():
        op.drop_index(name, "memberships")
        op.create_index(name, "memberships", columns, sqlite_where=always, postgresql_where=always)


def downgrade() -> None:
    for name, columns in _INDEXES.items():
        op.drop_index(name, "memberships")
        op.create_index(name, "memberships", columns)
