"""`gateway db`: look after the store."""

import typer

from gateway.cli.store import shown_url, with_database
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
