"""A next release that exists only in a test: a migration after the newest one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy import Connection

from gateway.store import revisions, versions

REVISION = "gateway_9001"

_SCRIPT = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{newest}"
readable_from = "{readable_from}"


def upgrade() -> None:
{steps}
"""

EXPANDS = """
    op.create_table("labels", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text, nullable=False))
    op.add_column("users", sa.Column("nickname", sa.Text))
    op.add_column("rooms", sa.Column("colour", sa.Text, nullable=False, server_default="grey"))
    op.add_column("messages", sa.Column("mood", sa.Text))
    op.create_index("users_by_nickname", "users", ["nickname"])
"""
"""What any next release may do: the tables have more than the previous release knows."""

CONTRACTS = """
    op.drop_column("rooms", "title")
    op.add_column("users", sa.Column("nickname", sa.Text, nullable=False, server_default=""))
    op.create_index("one_title", "users", ["full_name"], unique=True)
"""
"""What a release may only do once no gateway of the previous one is left."""


@contextmanager
def next_release(folder: Path, steps: str, *, readable_from: str) -> Iterator[None]:
    """Let this process be a gateway of the next release, whose migration does these steps."""
    script = _SCRIPT.format(
        revision=REVISION, newest=versions.NEWEST, readable_from=readable_from, steps=steps.strip("\n")
    )
    (folder / "9001_next.py").write_text(script)
    config = revisions.config

    def both(connection: Connection | None = None) -> Config:
        found = config(connection)
        found.set_main_option("version_path_separator", "os")
        found.set_main_option("version_locations", f"{Path(versions.__file__).parent}/migrations/versions:{folder}")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revisions, "config", both)
        patch.setattr(versions, "NEWEST", REVISION)
        patch.setattr(versions, "READABLE_FROM", readable_from)
        yield
