"""Every use of Alembic: the scripts of the migrations, and the commands that run them.

It is a separate module because most starts have nothing to upgrade, and importing Alembic takes time.
"""

from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.store.tables import VERSION_TABLE


def upgrade(connection: Connection, revision: str) -> None:
    """Upgrade the tables to a revision."""
    command.upgrade(config(connection), revision)


def stamp(connection: Connection, revision: str) -> None:
    """Write the version of the tables into their version table."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    context.stamp(scripts(), revision)


def known() -> set[str]:
    """Return every revision that has a script."""
    return {script.revision for script in scripts().walk_revisions()}


def scripts() -> ScriptDirectory:
    """Return the migrations' scripts."""
    return ScriptDirectory.from_config(config())


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, with the connection to work on."""
    config = Config()
    config.set_main_option("script_location", "gateway:store/migrations")
    config.set_main_option("path_separator", "os")
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    return config
