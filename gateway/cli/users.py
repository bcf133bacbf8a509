"""`gateway users`: adds, imports, lists, disables and enables users, and sets their passwords, scopes and groups.

`user_deletion` deletes a user, and `user_export` writes all that the store has about one.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Protocol

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.common_passwords import common_problem
from gateway.auth.passwords import Passwords
from gateway.cli import user_deletion, user_export
from gateway.cli.import_file import raise_problems, read_users
from gateway.cli.printable import print_table, printable
from gateway.cli.store import with_database
from gateway.cli.user_name import Name, unknown
from gateway.config.settings import Settings, load_settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.start_error import StartError
from gateway.store import groups as stored_groups
from gateway.store import login_sessions, users
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from handlers.registry import HANDLERS
from schemas.base import timestamp
from schemas.names import MAX_SCOPES_LENGTH, ScopeName, UserName
from schemas.services import SERVICE_SCOPES
from schemas.users import password_problem, prepared

app = typer.Typer(
    help="Add, list, change, export and delete users, their scopes and their groups.", no_args_is_help=True
)
Scopes = Annotated[list[str] | None, typer.Argument(metavar="[SCOPE]…", show_default=False)]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="A group of `gateway groups`; may be repeated.", show_default=False)
]

app.command("delete")(user_deletion.delete)
app.command("export")(user_export.export)

BUILT_IN_SCOPES = {handler.scope for handler in HANDLERS.values()}


@app.command()
def add(
    name: Name,
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    email: Annotated[str | None, typer.Option(help="An e-mail address.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A further scope, such as admin; may be repeated.")] = None,
) -> None:
    """Add a user. The command asks for the password, or reads it from standard input."""
    try:
        TypeAdapter(UserName).validate_python(name)
    except ValidationError as error:
        raise StartError(f"USER: {error.errors()[0]['msg']}") from None
    scopes = check_scopes(load_settings().default_scopes | frozenset(scope or ()))
    password = ask_password(name)

    def transaction(connection: Connection, password_hash: str, group: str) -> users.UserRow:
        now = milliseconds(SystemClock())
        user = users.add(
            connection,
            name=name,
            password_hash=password_hash,
            full_name=full_name,
            email=email,
            scopes=scopes,
            now=now,
        )
        if group:
            groups.put_new(connection, [user.id], group)
        return user

    async def work(database: Database, settings: Settings) -> None:
        hashed = await _hashed(password, settings)
        with Audit(settings.audit_path, SystemClock()) as audit:
            user = await database.transact(partial(transaction, password_hash=hashed, group=settings.default_group))
            audit.record("user_added", operator(), user=name, user_id=user.id, scopes=user.scopes)

    try:
        with_database(work)
    except NameTaken:
        raise StartError(f"the user name `{name}` is taken; choose another") from None
    typer.echo(f"added {name}")


@app.command("list")
def list_users() -> None:
    """List all users."""
    from rich.table import Table  # which no other of these commands needs

    def query(connection: Connection) -> list[tuple[users.UserRow, str]]:
        rows = users.list_all(connection)
        of_users = stored_groups.groups_of(connection, [user.id for user in rows])
        return [(user, " ".join(of_users.get(user.id, ()))) for user in rows]

    async def work(database: Database, _: Settings) -> list[tuple[users.UserRow, str]]:
        return await database.query(query)

    table = Table("user", "full name", "scopes and groups", "since", "last seen", "state")
    for user, of_user in with_database(work):
        table.add_row(
            user.name,
            printable(user.full_name or ""),
            user.scopes + (f"\nin {of_user}" if of_user else ""),
            timestamp(user.created_at)[:10],
            timestamp(user.last_seen_at) if user.last_seen_at else "",
            "disabled" if user.disabled else "active",
        )
    print_table(table)


@app.command()
def disable(name: Name) -> None:
    """Disable a user, so that no log-in and no connection works. Its open connections close within a second."""
    _change(name, "user_disabled", partial(users.set_disabled, disabled_at=milliseconds(SystemClock())))
    typer.echo(f"{name} is disabled")


@app.command()
def enable(name: Name) -> None:
    """Enable a disabled user, so that a new log-in works."""
    _change(name, "user_enabled", partial(users.set_disabled, disabled_at=None))
    typer.echo(f"{name} is enabled")


@app.command()
def grant(name: Name, scopes: Scopes = None, group: Groups = None) -> None:
    """Add scopes to a user, or put it into groups, which limit it to their rooms. Both count from its next token."""
    _check_given(scopes, group)
    if group:
        _change_groups(name, "groups_granted", group, groups.join)
    if scopes:
        _grant_scopes(name, scopes)


def _grant_scopes(name: str, scopes: list[str]) -> None:
    _change_scopes(name, "scopes_granted", lambda had: had | frozenset(scopes))
    if of_services := sorted(SERVICE_SCOPES.keys() & set(scopes)):
        typer.echo(f"note: {' '.join(of_services)} counts only for a service; see: gateway services add", err=True)
    if unknown := sorted(set(scopes) - BUILT_IN_SCOPES - SERVICE_SCOPES.keys()):
        typer.echo(f"note: no built-in message needs {' '.join(unknown)}; a handler of yours may", err=True)


@app.command()
def revoke(name: Name, scopes: Scopes = None, group: Groups = None) -> None:
    """Remove scopes from a user, or take it out of groups. That counts from its next connection or token."""
    _check_given(scopes, group)
    if group:
        _change_groups(name, "groups_revoked", group, groups.leave)
    if scopes:
        _change_scopes(name, "scopes_revoked", lambda had: had - frozenset(scopes))


@app.command("import")
def import_users(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or JSON lines; - for standard input.")],
) -> None:
    """Add users with the bcrypt hashes of their passwords: all of them or none.

    CSV starts with a line of column names, and JSON lines have one object each: username and password_hash, and
    optionally full_name, email, scopes and disabled (true or false). Spaces separate scopes; without them, the user
    gets the default scopes. Import more than about 100,000 users in parts.
    """
    found = read_users(file, load_settings().password_rounds)

    def transaction(connection: Connection, default_scopes: frozenset[str], group: str) -> None:
        taken = users.taken_names(connection, [user.username for user in found.values()])
        raise_problems(
            {
                line: f"the user name `{user.username}` is taken"
                for line, user in found.items()
                if user.username in taken
            }
        )
        now = milliseconds(SystemClock())
        rows = [user.row(now, default_scopes) for user in found.values()]
        users.add_all(connection, rows)
        if group:
            groups.put_new(connection, [row.id for row in rows], group)

    async def work(database: Database, settings: Settings) -> None:
        await database.transact(
            partial(transaction, default_scopes=settings.default_scopes, group=settings.default_group)
        )
        with Audit(settings.audit_path, SystemClock()) as audit:
            audit.record("users_imported", operator(), count=len(found))

    with_database(work)
    typer.echo(f"added {len(found)} users")


@app.command()
def passwd(name: Name) -> None:
    """Set a user's password and end all sessions. The command asks for it, or reads it from standard input."""
    password = ask_password(name)
    password_hash = asyncio.run(_hashed(password, load_settings()))
    _change(name, "password_set", partial(users.set_password, password_hash=password_hash))
    typer.echo(f"the password of {name} is set")


def ask_password(name: str) -> str:
    """Return a new password, typed twice at a prompt, or one line of standard input.

    It is never an argument, which others could see.
    """
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    password = prepared(password)
    if problem := password_problem(password) or common_problem(password, name):
        raise StartError(f"password: {problem}")
    return password


_GroupChange = Callable[[Connection, str, Sequence[str]], list[str]]
"""Changes the groups of a user, and returns the names of all its groups."""


class _Change(Protocol):
    def __call__(self, connection: Connection, *, name: str) -> str | None:
        """Change a user and return its id, or None if there is no such user."""


def _change(name: str, event: str, change: _Change) -> None:
    """Change a user and end its sessions, which running gateways notice, and record it in the audit log as `event`."""

    def transaction(connection: Connection) -> tuple[str, int]:
        user_id = change(connection, name=name)
        if user_id is None:
            raise unknown(name)
        return user_id, len(login_sessions.end(connection, user_id, milliseconds(SystemClock())))

    async def work(database: Database, settings: Settings) -> None:
        with Audit(settings.audit_path, SystemClock()) as audit:
            user_id, ended = await database.transact(transaction)
            audit.record(event, operator(), user=name, user_id=user_id, ended=ended)

    with_database(work)


def _change_scopes(name: str, event: str, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
    def transaction(connection: Connection) -> tuple[str, str]:
        user = users.by_name(connection, name)
        if user is None:
            raise unknown(name)
        scopes = " ".join(sorted(check_scopes(change(frozenset(user.scopes.split())))))
        users.set_scopes(connection, name, scopes)
        return user.id, scopes

    async def work(database: Database, settings: Settings) -> str:
        with Audit(settings.audit_path, SystemClock()) as audit:
            user_id, scopes = await database.transact(transaction)
            audit.record(event, operator(), user=name, user_id=user_id, scopes=scopes)
        return scopes or "nothing"

    typer.echo(f"{name} may now: {with_database(work)}")


def _change_groups(name: str, event: str, wanted: list[str], change: _GroupChange) -> None:
    def transaction(connection: Connection) -> tuple[str, list[str]]:
        user = users.by_name(connection, name)
        if user is None:
            raise unknown(name)
        return user.id, change(connection, user.id, wanted)

    async def work(database: Database, settings: Settings) -> list[str]:
        with Audit(settings.audit_path, SystemClock()) as audit:
            user_id, now_in = await database.transact(transaction)
            audit.record(event, operator(), user=name, user_id=user_id, groups=" ".join(now_in))
        return now_in

    if now_in := with_database(work):
        typer.echo(f"{name} is in the groups: {' '.join(now_in)}")
    else:
        typer.echo(f"{name} is in no group, so that no group limits it to certain rooms")


def _check_given(scopes: list[str] | None, group: list[str] | None) -> None:
    if not scopes and not group:
        raise StartError("expected a SCOPE or --group GROUP")


def check_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Return the scopes, or raise `StartError` if no token could hold them."""
    try:
        TypeAdapter(list[ScopeName]).validate_python(list(scopes))
    except ValidationError as error:
        raise StartError(f"SCOPE: {error.errors()[0]['msg']}") from None
    if (length := len(" ".join(scopes))) > MAX_SCOPES_LENGTH:
        raise StartError(f"SCOPE: expected at most {MAX_SCOPES_LENGTH} characters for all of a user's, got {length}")
    return scopes


async def _hashed(password: str, settings: Settings) -> str:
    with closing(Passwords(settings.password_rounds)) as passwords:
        return await passwords.hash(password)
