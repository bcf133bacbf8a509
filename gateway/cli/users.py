"""`gateway users`: add, list, disable and enable users, and set passwords."""

import sys
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from gateway.auth.passwords import Passwords
from gateway.cli.store import with_database
from gateway.clock import SystemClock, milliseconds
from gateway.settings import Settings
from gateway.startup import StartError
from gateway.store import users
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
        async with database.write() as connection:
            await users.add(
                connection,
                name=name,
                password_hash=hashed,
                full_name=full_name,
                email=email,
                scopes=scopes,
                now=milliseconds(SystemClock()),
            )

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
    """Let a user neither log in nor connect."""
    _set_disabled(name, disabled=True)


@app.command()
def enable(name: Name) -> None:
    """Let a disabled user in again."""
    _set_disabled(name, disabled=False)


@app.command()
def passwd(name: Name) -> None:
    """Set a user's password. It is asked for, or read from standard input."""
    password = ask_password()

    async def work(database: Database, settings: Settings) -> None:
        hashed = await _hashed(password, settings)
        async with database.write() as connection:
            _must_exist(name, await users.set_password(connection, name, hashed))

    with_database(work)
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


def _set_disabled(name: str, *, disabled: bool) -> None:
    async def work(database: Database, _: Settings) -> None:
        async with database.write() as connection:
            _must_exist(name, await users.set_disabled(connection, name, disabled))

    with_database(work)
    typer.echo(f"{name} is {'disabled' if disabled else 'enabled'}")


def _must_exist(name: str, found: bool) -> None:
    if not found:
        raise StartError(f"there is no user {name}; see: gateway users list")


async def _hashed(password: str, settings: Settings) -> str:
    passwords = Passwords(settings.password_rounds)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()
