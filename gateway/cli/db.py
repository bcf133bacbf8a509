"""`gateway db`: upgrades, prunes, backs up and restores the store."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.processes import counted
from gateway.cli.store import redacted_store_url, with_database
from gateway.config.database_url import SQLITE
from gateway.config.settings import Settings, load_settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.logs import guard_logs
from gateway.core.start_error import StartError, make_data_dir
from gateway.rooms.removal import RoomRemover
from gateway.rooms.retention import Retention
from gateway.store import backup as copies
from gateway.store.engine import Database
from gateway.store.renewal import Renewed, renew
from gateway.store.sqlite_file import path_of
from handlers.errors import Unavailable

app = typer.Typer(help="Upgrade, prune, back up and restore the store.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Upgrade, prune, back up and restore the store."""


@app.command()
def upgrade() -> None:
    """Upgrade the tables to the newest version, as every start does."""

    async def work(database: Database, settings: Settings) -> str:
        return redacted_store_url(settings)

    typer.echo(f"{with_database(work)} is up to date")


@app.command()
def prune() -> None:
    """Remove the messages that exceed the retention settings, as a gateway does every hour."""

    async def work(database: Database, settings: Settings) -> int:
        await RoomRemover(database).remove_all()
        return await Retention(settings, database, SystemClock()).prune()

    typer.echo(f"removed {with_database(work)} messages")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a backup that exists.")] = False,
) -> None:
    """Copy a SQLite database to a file. The gateway may run meanwhile."""
    settings = load_settings()
    copies.back_up(_sqlite_path(settings, _DUMP), file, replace=replace)
    typer.echo(f"{file} is a backup of {redacted_store_url(settings)}")


@app.command()
def restore(
    file: Annotated[
        Path | None,
        typer.Argument(help="A SQLite backup. Leave it out if another tool, such as pg_restore, has done the restore."),
    ] = None,
    keep_sessions: Annotated[
        bool, typer.Option("--keep-sessions", help="Keep all sessions, even those that have ended since the backup.")
    ] = False,
) -> None:
    """Restore the store from a backup: rooms get new epochs, and sessions end. The gateway must not run."""
    settings = load_settings()
    make_data_dir(settings.data_dir)
    # Opened before anything changes, because a failure must not come after the change.
    with Audit(settings.audit_path, SystemClock()) as audit:
        renewed, kept = _restore(settings, file, partial(renew, keep_sessions=keep_sessions))
        audit.record("store_restored", operator(), rooms=renewed.rooms, sessions_ended=renewed.sessions)
    have = "has a new epoch" if renewed.rooms == 1 else "have new epochs"
    ended = "has ended" if renewed.sessions == 1 else "have ended"
    typer.echo(f"{redacted_store_url(settings)} is restored: {counted(renewed.rooms, 'room')} {have},", nl=False)
    typer.echo(f" {counted(renewed.sessions, 'session')} {ended}")
    if kept is not None:
        typer.echo(f"the previous database is {kept}")
    typer.echo("passwords, disabled users and scopes are those of the backup; audit.log lists later changes")


_DUMP = "use pg_dump, or PITR, for a backup of PostgreSQL, and `gateway db restore` without a file after restoring it"


def _sqlite_path(settings: Settings, otherwise: str) -> Path:
    if SQLITE.match(settings.store_url) is None:
        raise StartError(f"the store is {redacted_store_url(settings)}; {otherwise}")
    return path_of(settings.store_url)


def _restore(settings: Settings, file: Path | None, change: "partial[Renewed]") -> tuple[Renewed, Path | None]:
    now = milliseconds(SystemClock())

    async def work(database: Database, _settings: Settings) -> Renewed:
        return await database.transact(partial(change, now=now), limited=False)

    if file is not None:
        path = _sqlite_path(settings, _DUMP)
        return copies.restore(file, path, lambda draft: asyncio.run(_change(draft, partial(change, now=now))))
    if SQLITE.match(settings.store_url) is not None:
        with copies.unused(path_of(settings.store_url)):
            pass
    return with_database(work), None


async def _change(draft: Path, change: "partial[Renewed]") -> Renewed:
    """Upgrade a restored copy, and start its rooms with new epochs."""
    guard_logs()
    try:
        async with Database(f"sqlite:///{draft}") as database:
            await database.upgrade()
            return await database.transact(change, limited=False)
    except Unavailable:
        raise StartError(f"cannot bring the copy {draft} up to date; the line above says why") from None
