"""`gateway users`: add, list, disable and enable users, and set passwords."""

import asyncio
import sys
from functools import partial
from typing import Annotated, Protocol

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from gateway.audit import Audit
from gateway.auth.passwords import Passwords
from gateway.caller import operator
from gateway.cli.store import with_database
from gateway.clock import SystemClock, milliseconds
from gateway.settings import Settings, load_settings
from gateway.startup import StartError
from gateway.store import logins, users
from gateway.store.engine import Database
from schemas.base import timestamp
from schemas.names import UserName
from schemas.users import password_problem

app = typer.Typer(help="Add, list, disable and enable users, and set passwords.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="USER", show_default=False)]


@app.command()
def add(
    name: Name,
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    email: Annotated[str | None, typer.Option(help="An address.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A further scope, such as admin; may be repeated.")] = None,
) -> None:
    """Add a user. The password is asked for, or read from standard input."""
    try:
        TypeAdapter(UserName).validate_python(name)
    except ValidationError as error:
        raise StartError(f"USER: {error.errors()[0]['msg']}") from None
    scopes = users.DEFAULT_SCOPES | frozenset(scope or ())
    password = ask_password()

    async def work(database: Database, settings: Settings) -> None:
        hashed = await _hashed(password, settings)
        with Audit(settings.audit_path, SystemClock()) as audit:
            async with database.write() as connection:
                user = await users.add(
                    connection,
                    name=name,
                    password_hash=hashed,
                    full_name=full_name,
                    email=email,
                    scopes=scopes,
                    now=milliseconds(SystemClock()),
                )
            audit.write("user_added", operator(), user=name, user_id=user.id, scopes=user.scopes)

    with_database(work)
    typer.echo(f"added {name}")


@app.command("list")
def list_users() -> None:
    """List all users."""

    async def work(database: Database, _: Settings) -> list[users.UserRow]:
        async with database.read() as connection:
            return await users.everyone(connection)

    table = Table("user", "full name", "scopes", "since", "last seen", "state")
    for user in with_database(work):
        table.add_row(
            user.name,
            user.full_name or "",
            user.scopes,
            timestamp(user.created_at)[:10],
            timestamp(user.last_seen_at) if user.last_seen_at else "",
            "disabled" if user.disabled else "active",
        )
    Console().print(table)


@app.command()
def disable(name: Name) -> None:
    """Let a user neither log in nor connect; whoever is connected as that user is cut off within a second."""
    _change(name, "user_disabled", partial(users.set_disabled, disabled_at=milliseconds(SystemClock())))
    typer.echo(f"{name} is disabled")


@app.command()
def enable(name: Name) -> None:
    """Let a disabled user in again, who has to log in anew."""
    _change(name, "user_enabled", partial(users.set_disabled, disabled_at=None))
    typer.echo(f"{name} is enabled")


@app.command()
def passwd(name: Name) -> None:
    """Set a user's password, and end all sessions. It is asked for, or read from standard input."""
    password = ask_password()
    password_hash = asyncio.run(_hashed(password, load_settings()))
    _change(name, "password_set", partial(users.set_password, password_hash=password_hash))
    typer.echo(f"the password of {name} is set")


def ask_password() -> str:
    """Ask for a password twice, or read one line of standard input; it is never an argument, which others can see."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if problem := password_problem(password):
        raise StartError(f"password: {problem}")
    return str(password)


class _Change(Protocol):
    def __call__(self, connection: Connection, *, name: str) -> str | None:
        """Change a user, and give its id, or None if there is no such user."""


def _change(name: str, event: str, change: _Change) -> None:
    """Change a user and end its sessions, which running gateways see, and note it in the audit log as `event`."""

    def transaction(connection: Connection) -> tuple[str, int]:
        user_id = change(connection, name=name)
        if user_id is None:
            raise StartError(f"there is no user {name}; see: gateway users list")
        return user_id, len(logins.end(connection, user_id, milliseconds(SystemClock())))

    async def work(database: Database, settings: Settings) -> None:
        with Audit(settings.audit_path, SystemClock()) as audit:
            user_id, ended = await database.transact(transaction)
            audit.write(event, operator(), user=name, user_id=user_id, ended=ended)

    with_database(work)


async def _hashed(password: str, settings: Settings) -> str:
    passwords = Passwords(settings.password_rounds)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()
