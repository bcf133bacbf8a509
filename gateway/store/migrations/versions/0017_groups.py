"""Groups of users, their rights by room, and what tickets keep of a token."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0017"
down_revision = "gateway_0016"


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("room_rights", sa.Text, nullable=False),
    )
    op.create_table(
        "group_members",
        sa.Column("group_name", sa.Text, sa.ForeignKey("groups.name"), primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("groups_of_user", "group_members", ["user_id"])
    op.add_column("users", sa.Column("room_rights", sa.Text))
    for name in ("room_rights", "claims"):
        op.add_column("tickets", sa.Column(name, sa.Text))


def downgrade() -> None:
    for name in ("claims", "room_rights"):
        op.drop_column("tickets", name)
    op.drop_column("users", "room_rights")
    op.drop_index("groups_of_user", "group_members")
    op.drop_table("group_members")
    op.drop_table("groups")
