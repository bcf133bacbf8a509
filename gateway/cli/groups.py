"""`gateway groups`: sets, lists and removes groups of users with rights by room."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights, rights_of
from gateway.cli.printable import print_table
from gateway.cli.store import with_database
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock
from gateway.core.start_error import StartError
from gateway.store import groups as stored
from gateway.store.engine import Database
from schemas.names import GroupName

app = typer.Typer(
    help="Set, list and remove groups. Their members have rights only in the rooms that a group names.",
    no_args_is_help=True,
)

Result = TypeVar("Result")

Name = Annotated[str, typer.Argument(metavar="GROUP", show_default=False)]
Grants = Annotated[
    list[str] | None, typer.Argument(metavar="[PATTERN=RIGHTS]…", help="Such as 'team-*=join,send' or news=join.")
]


@app.command("set")
def set_group(name: Name, grants: Grants = None) -> None:
    """Set what a group allows in which rooms, and add the group if it is new. Without any, it allows no room.

    The rights are join, send and create. Fewer rights count at once, and within a second for open connections. More
    rights count from the next token.
    """
    _check_name(name)
    rights = _parsed(grants or [])
    members = _change(partial(groups.set_rights, name=name, rights=rights), "group_set", name, rights)
    typer.echo(f"{name} allows {' '.join(_worded(rights))}, and has {members} members")


@app.command("list")
def list_groups() -> None:
    """List all groups with their rights."""
    from rich.table import Column, Table  # which no other of these commands needs

    async def work(database: Database, _: Settings) -> list[stored.GroupRow]:
        return await database.query(stored.list_all)

    table = Table("group", Column("rights", overflow="fold"), Column("members", justify="right"))
    for row in with_database(work):
        rights = rights_of(row.room_rights)
        table.add_row(row.name, "" if rights is None else "\n".join(_worded(rights)), str(row.members))
    print_table(table)


@app.command()
def remove(name: Name) -> None:
    """Remove a group without members."""
    _change(partial(groups.remove, name=name), "group_removed", name)
    typer.echo(f"removed {name}")


def _worded(rights: RoomRights) -> list[str]:
    """Return rights in the form in which `gateway groups set` takes them."""
    return [f"{pattern}={','.join(names)}" for pattern, names in rights.claim.items()] or ["no room"]


def _change(change: Callable[[Connection], Result], event: str, name: str, rights: RoomRights | None = None) -> Result:
    """Run a transaction that changes a group, and record it in the audit log as `event`."""

    async def work(database: Database, settings: Settings) -> Result:
        with Audit(settings.audit_path, SystemClock()) as audit:
            # Not limited: a group may have most of all users.
            result = await database.transact(change, limited=False)
            audit.record(event, operator(), group=name, rooms=None if rights is None else " ".join(_worded(rights)))
        return result

    return with_database(work)


def _check_name(name: str) -> None:
    try:
        TypeAdapter(GroupName).validate_python(name)
    except ValidationError as error:
        raise StartError(f"GROUP: {error.errors()[0]['msg']}") from None


def _parsed(grants: list[str]) -> RoomRights:
    claim: dict[str, list[str]] = {}
    for grant in grants:
        pattern, equals, rights = grant.partition("=")
        if not equals:
            raise StartError(f"expected PATTERN=RIGHTS such as 'team-*=join,send', got {grant!r}")
        if pattern in claim:
            raise StartError(f"expected each pattern once, got {pattern!r} twice")
        claim[pattern] = rights.split(",") if rights else []
    try:
        return RoomRights.parse(claim)
    except ValueError as error:
        raise StartError(str(error)) from None
