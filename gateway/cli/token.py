"""`gateway token`: a token to paste into Postman."""

from typing import Annotated

import typer

from gateway.auth import keys
from gateway.auth.tokens import Tokens
from gateway.cli.store import with_database
from gateway.cli.users import Name
from gateway.clock import SystemClock
from gateway.settings import Settings
from gateway.startup import StartError
from gateway.store import users
from gateway.store.engine import Database


def token(
    name: Name,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=24 * 60, help="How long it lasts; the setting, if left out.")
    ] = None,
) -> None:
    """Print an access token of a user, to paste into Postman."""

    async def work(database: Database, settings: Settings) -> str:
        async with database.read() as connection:
            user = await users.by_name(connection, name)
        if user is None or user.disabled:
            raise StartError(f"there is no user {name} that is enabled; see: gateway users list")
        tokens = Tokens(
            keys=keys.load(settings),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            lifetime_seconds=round((minutes or settings.token_minutes) * 60),
            clock=SystemClock(),
        )
        return tokens.issue(user.id, frozenset(user.scopes.split()))

    typer.echo(with_database(work))
