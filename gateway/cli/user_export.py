"""`gateway users export`: writes all that the store has about a user."""

from functools import partial

import typer

from gateway.cli.output_file import Output, Replace, output
from gateway.cli.store import with_database
from gateway.cli.user_name import Name, unknown
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock
from gateway.rooms.export import user_lines
from gateway.store import deleted_users
from gateway.store.engine import Database


def export(name: Name, file: Output = None, replace: Replace = False) -> None:
    """Write all that the store has about a user, as JSON lines. There is no password hash and no token in it.

    Each line has a `type` and `data`. The last one is `end`: without it, the export is not complete.
    """

    async def work(database: Database, settings: Settings) -> None:
        user = await database.query(partial(deleted_users.find, name=name))
        if user is None:
            raise unknown(name)
        with Audit(settings.audit_path, SystemClock()) as audit, output(file, replace=replace) as write:
            audit.record("user_exported", operator(), user=name, user_id=user.id)
            async for lines in user_lines(database, user):
                write(lines)

    with_database(work)
    if file is not None:
        typer.echo(f"{file} has all that the store has about {name}")
