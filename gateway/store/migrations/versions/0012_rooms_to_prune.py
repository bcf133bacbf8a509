"""Bounds of each room's messages, so that retention looks only at rooms that may have something to remove."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0012"
down_revision = "gateway_0011"

_OF_ROOM = "FROM messages WHERE messages.room_id = rooms.id"
_CHANGED_AT = "coalesce(deleted_at, edited_at, sent_at)"
_BOUNDS = f"""
UPDATE rooms SET
  oldest_at = coalesce((SELECT {_CHANGED_AT} {_OF_ROOM} ORDER BY changed LIMIT 1), created_at),
  vacant = "offset" - (SELECT count(*) {_OF_ROOM})
"""  # noqa: S608 - constant


def upgrade() -> None:
    for name in ("oldest_at", "vacant"):
        op.add_column("rooms", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute(_BOUNDS)
    op.create_index("rooms_by_age", "rooms", ["oldest_at"])


def downgrade() -> None:
    op.drop_index("rooms_by_age", "rooms")
    op.drop_column("rooms", "vacant")
    op.drop_column("rooms", "oldest_at")
