"""`gateway rooms`: lists, shows, deletes and exports rooms, also private and direct ones."""

import json
from functools import partial
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from gateway.cli.live_log import live_log
from gateway.cli.output_file import Output, Replace, output
from gateway.cli.printable import print_table, printable
from gateway.cli.store import with_database
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.start_error import StartError
from gateway.rooms.export import room_lines
from gateway.rooms.removal import RoomRemover
from gateway.rooms.room_pages import MemberPage, RoomPage, read_all_rooms, read_members
from gateway.store import rooms
from gateway.store.engine import Database
from gateway.store.rooms import REMOVED, RoomRow
from schemas.base import timestamp

app = typer.Typer(help="List, show, delete and export rooms, also private and direct ones.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="ROOM", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="The most to print.")]


@app.command("list")
def list_rooms(
    after: Annotated[str | None, typer.Option(help="Begin after this name: the last one of the page before.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List rooms by name, a page at a time."""

    async def work(database: Database, _: Settings) -> RoomPage:
        return await read_all_rooms(database, None, after, limit)

    page = with_database(work)
    if as_json:
        _print_json({"rooms": [_described(room) for room in page.rooms], "next_cursor": page.next_cursor})
        return
    _print_table(page.rooms)
    if page.next_cursor is not None:
        typer.echo(f"more: gateway rooms list --after {page.next_cursor} --limit {limit}", err=True)


@app.command()
def show(name: Name, limit: Limit = 100, as_json: Json = False) -> None:
    """Show a room and its members by name."""

    async def work(database: Database, _: Settings) -> tuple[RoomRow, MemberPage]:
        room = await database.query(partial(_find, name=name))
        return room, await read_members(database, room.id, None, limit)

    room, page = with_database(work)
    members = [{"user": member.name, "role": member.role} for member in page.members]
    if as_json:
        _print_json(_described(room) | {"member_list": members, "next_cursor": page.next_cursor})
        return
    for key, value in _described(room).items():
        typer.echo(f"{key.replace('_', ' '):<13} {printable(_worded(value))}")
    for member in members:
        typer.echo(f"{member['role']:<13} {member['user']}")
    if page.next_cursor is not None:
        typer.echo(f"and {room.members - len(members)} members more; see: gateway rooms export {name}", err=True)


@app.command()
def delete(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a room with all of its messages, while gateways run. Its clients hear of it, and hear no more after it."""

    async def look(database: Database, _: Settings) -> RoomRow:
        return await database.query(partial(_find, name=name))

    async def work(database: Database, settings: Settings) -> None:
        with Audit(settings.audit_path, SystemClock()) as audit:
            async with live_log(database, settings) as live:
                room = await database.transact(partial(_delete, name=name, now=milliseconds(SystemClock())))
                audit.record("room_deleted", operator(), room=name, room_epoch=room.epoch)
                await live.end_room(room)
            await RoomRemover(database).remove_all()

    if not yes:
        found = with_database(look)
        typer.confirm(f"Delete {name}, with {found.members} members and {found.stored_bytes} bytes?", abort=True)
    with_database(work)
    typer.echo(f"{name} is deleted")


@app.command()
def export(name: Name, file: Output = None, replace: Replace = False) -> None:
    """Write a room, its members and its log as JSON lines.

    Each line has a `type` and `data`. The last one is `end`: without it, the export is not complete.
    """

    async def work(database: Database, settings: Settings) -> None:
        room = await database.query(partial(_find, name=name))
        with Audit(settings.audit_path, SystemClock()) as audit, output(file, replace=replace) as write:
            audit.record("room_exported", operator(), room=name)
            async for lines in room_lines(database, room):
                write(lines)

    with_database(work)
    if file is not None:
        typer.echo(f"{file} has {name}")


def _find(connection: Connection, name: str) -> RoomRow:
    found = None if name.startswith(REMOVED) else rooms.by_name(connection, name)
    if found is None:
        raise StartError(f"there is no room {name}; see: gateway rooms list")
    return found


def _delete(connection: Connection, name: str, now: int) -> RoomRow:
    room = None if name.startswith(REMOVED) else rooms.find(connection, name, "", lock=True)
    if room is None:
        raise StartError(f"there is no room {name}; see: gateway rooms list")
    rooms.remove(connection, room.id, now)
    return room


def _described(room: RoomRow) -> dict[str, Any]:
    return room.to_service_schema().model_dump(mode="json", exclude_none=True)


def _print_json(found: dict[str, Any]) -> None:
    lines = json.dumps(found, ensure_ascii=False, indent=2).split("\n")
    typer.echo("\n".join(map(printable, lines)))


def _print_table(found: list[RoomRow]) -> None:
    from rich.table import Column, Table  # which no other of these commands needs

    table = Table(
        Column("room", overflow="fold"), Column("title", overflow="fold"), "kind", "members", "bytes", "since"
    )
    for room in found:
        table.add_row(
            room.name,
            printable(room.title or ""),
            _kind(room),
            str(room.members),
            str(room.stored_bytes),
            timestamp(room.created_at)[:10],
        )
    print_table(table)


def _kind(room: RoomRow) -> str:
    return "direct" if room.direct else "private" if room.private else "public"


def _worded(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
