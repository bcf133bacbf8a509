"""`gateway token print`: prints a token to paste into Postman."""

from functools import partial
from typing import Annotated

import typer

from gateway.auth.keys import key_ring
from gateway.auth.room_rights import rights_of
from gateway.auth.sessions import new_session_id
from gateway.auth.tokens import Tokens
from gateway.cli.store import with_database
from gateway.cli.user_name import Name
from gateway.config.settings import Settings, load_settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.start_error import StartError
from gateway.store import login_sessions, users
from gateway.store.engine import Database
from gateway.store.login_sessions import LoginSessionRow
from gateway.store.users import UserRow

MAX_MINUTES = 60
"""The longest life of a printed token, unless the gateway's own tokens last longer: it is in a terminal's history."""


def token(
    name: Name,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, help=f"Its lifetime, at most {MAX_MINUTES} or GATEWAY_TOKEN_MINUTES, whose value is the default."
        ),
    ] = None,
) -> None:
    """Print an access token of a user, to paste into Postman. A program gets a key: see `gateway services`."""
    settings = load_settings()
    lifetime_seconds = round(_checked(minutes, settings) * 60)

    async def work(database: Database, settings: Settings) -> str:
        user = await database.query(partial(users.by_name, name=name))
        if user is None or user.disabled:
            raise StartError(f"there is no user {name} that is enabled; see: gateway users list")
        row = await _begin(database, user, lifetime_seconds)
        with Audit(settings.audit_path, SystemClock()) as audit:
            audit.record("token_printed", operator(), user=user.name, user_id=user.id, session=row.id)
        tokens = Tokens(
            keys=key_ring.load_key_ring(settings),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            lifetime_seconds=lifetime_seconds,
            clock=SystemClock(),
        )
        rooms = rights_of(user.room_rights)
        return tokens.issue(user.id, frozenset(user.scopes.split()), session_id=row.id, rooms=rooms)

    typer.echo(with_database(work, settings))


def _checked(minutes: float | None, settings: Settings) -> float:
    """Return the lifetime, or raise `StartError` for one that only a program would need."""
    most = max(MAX_MINUTES, settings.token_minutes)
    if minutes is not None and minutes > most:
        raise StartError(
            f"--minutes: expected at most {most:g}, got {minutes:g}; for a program, make a key: gateway services add"
        )
    return minutes or settings.token_minutes


async def _begin(database: Database, user: UserRow, lifetime_seconds: int) -> LoginSessionRow:
    """Create a session without a refresh token, so that the token can be revoked."""
    now, client = milliseconds(SystemClock()), operator()
    row = LoginSessionRow(
        id=new_session_id(),
        user_id=user.id,
        scopes=user.scopes,
        created_at=now,
        last_used_at=now,
        expires_at=now + lifetime_seconds * 1000,
        address=client.address,
        user_agent=client.user_agent,
    )
    await database.transact(partial(login_sessions.add, row=row))
    return row
