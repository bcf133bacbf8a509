"""`gateway db`: look after the store."""

import typer

from gateway.cli.store import shown_url, with_database
from gateway.clock import SystemClock
from gateway.rooms.removal import Removal
from gateway.rooms.retention import Retention
from gateway.settings import Settings
from gateway.store.engine import Database

app = typer.Typer(help="Look after the store.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look after the store."""


@app.command()
def upgrade() -> None:
    """Bring the tables to the newest version, as every start does."""

    async def work(database: Database, settings: Settings) -> str:
        return shown_url(settings)

    typer.echo(f"{with_database(work)} is up to date")


@app.command()
def prune() -> None:
    """Remove messages that are older, or more in a room, than the settings keep, as a gateway does every hour."""

    async def work(database: Database, settings: Settings) -> int:
        await Removal(database).finish()
        return await Retention(settings, database, SystemClock()).prune()

    typer.echo(f"removed {with_database(work)} messages")
