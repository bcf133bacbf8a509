"""How many memberships each room has had, so that nothing counts its members."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0010"
down_revision = "gateway_0009"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("arrivals", sa.BigInteger, nullable=False, server_default="0"))
    members = "SELECT count(*) FROM memberships WHERE memberships.room_id = rooms.id"
    op.execute(f"UPDATE rooms SET arrivals = departures + ({members})")  # noqa: S608 - constant


def downgrade() -> None:
    op.drop_column("rooms", "arrivals")
