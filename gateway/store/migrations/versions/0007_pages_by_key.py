"""Names in memberships and an index of public rooms, so that a page reads only its own rows."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0007"
down_revision = "gateway_0006"

_NAMES = """
UPDATE memberships SET
  user_name = (SELECT name FROM users WHERE users.id = memberships.user_id),
  room_name = (SELECT name FROM rooms WHERE rooms.id = memberships.room_id)
"""


def upgrade() -> None:
    op.add_column("memberships", sa.Column("user_name", sa.Text, nullable=False, server_default=""))
    op.add_column("memberships", sa.Column("room_name", sa.Text, nullable=False, server_default=""))
    op.execute(_NAMES)
    op.create_index("memberships_by_user_name", "memberships", ["room_id", "user_name"])
    op.create_index("memberships_by_room_name", "memberships", ["user_id", "room_name"])
    public = sa.text("NOT private")
    op.create_index("public_rooms", "rooms", ["name"], sqlite_where=public, postgresql_where=public)


def downgrade() -> None:
    op.drop_index("public_rooms", "rooms")
    op.drop_index("memberships_by_room_name", "memberships")
    op.drop_index("memberships_by_user_name", "memberships")
    op.drop_column("memberships", "room_name")
    op.drop_column("memberships", "user_name")
