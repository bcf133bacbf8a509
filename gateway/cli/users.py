"""`gateway users`: add and import, list, disable and enable users, set passwords, and say what they may do."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from gateway.auth.passwords import Passwords
from gateway.cli.import_file import complain, read_users
from gateway.cli.store import with_database
from gateway.clock import SystemClock, milliseconds
from gateway.settings import Settings
from gateway.startup import StartError
from gateway.store import users
from gateway.store.engine import Database
from handlers.factory import HANDLERS
from schemas.base import timestamp
from schemas.names import MAX_SCOPES_LENGTH, ScopeName, UserName
from schemas.users import password_problem

app = typer.Typer(help="Look after users: who there is, and what they may do.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
Scopes = Annotated[list[str], typer.Argument(metavar="SCOPE…", show_default=False)]

BUILT_IN_SCOPES = {handler.scope for handler in HANDLERS.values()} | {"server"}


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
    scopes = check_scopes(users.DEFAULT_SCOPES | frozenset(scope or ()))
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
def grant(name: Name, scopes: Scopes) -> None:
    """Let a user do more. It counts from the user's next token on."""
    _change_scopes(name, lambda had: had | frozenset(scopes))
    if unknown := sorted(set(scopes) - BUILT_IN_SCOPES):
        typer.echo(f"note: no built-in message needs {' '.join(unknown)}; a handler of yours may", err=True)


@app.command()
def revoke(name: Name, scopes: Scopes) -> None:
    """Let a user do less. It counts from the user's next connection or token on."""
    _change_scopes(name, lambda had: had - frozenset(scopes))


@app.command("import")
def import_users(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or JSON lines; - for standard input.")],
) -> None:
    """Add users with the bcrypt hashes of their passwords, all of them or none.

    CSV has a first line with the names of its columns, and JSON lines have one object each: username and
    password_hash, and where there are any full_name, email, scopes (separated by spaces; what every user may do, if
    left out) and disabled (true or false). More than about 100,000 users are best imported in parts.
    """
    found = read_users(file)

    async def work(database: Database, _: Settings) -> None:
        async with database.write() as connection:
            taken = await users.taken(connection, [user.username for user in found.values()])
            complain(
                {
                    line: f"the user name `{user.username}` is taken"
                    for line, user in found.items()
                    if user.username in taken
                }
            )
            now = milliseconds(SystemClock())
            await users.add_all(connection, [user.row(now) for user in found.values()])

    with_database(work)
    typer.echo(f"added {len(found)} users")


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


def _change_scopes(name: str, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
    async def work(database: Database, _: Settings) -> str:
        async with database.write() as connection:
            user = await users.by_name(connection, name)
            _must_exist(name, user is not None)
            assert user is not None  # noqa: S101 - as checked
            scopes = check_scopes(change(frozenset(user.scopes.split())))
            await users.set_scopes(connection, name, scopes)
        return " ".join(sorted(scopes)) or "nothing"

    typer.echo(f"{name} may now: {with_database(work)}")


def check_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Give the scopes, or raise `StartError` for those that no token could hold."""
    try:
        TypeAdapter(list[ScopeName]).validate_python(list(scopes))
    except ValidationError as error:
        raise StartError(f"SCOPE: {error.errors()[0]['msg']}") from None
    if (length := len(" ".join(scopes))) > MAX_SCOPES_LENGTH:
        raise StartError(f"SCOPE: expected at most {MAX_SCOPES_LENGTH} characters for all of a user's, got {length}")
    return scopes


def _must_exist(name: str, found: bool) -> None:
    if not found:
        raise StartError(f"there is no user {name}; see: gateway users list")


async def _hashed(password: str, settings: Settings) -> str:
    passwords = Passwords(settings.password_rounds)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()
