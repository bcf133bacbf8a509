"""`gateway services`: adds, changes, lists and removes services, and rotates and revokes their keys."""

import os
from typing import Annotated

import typer

from gateway.cli import incoming_webhooks, service_changes
from gateway.cli.printable import print_table
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError
from gateway.store.services import ServiceKeyRow
from schemas.base import timestamp
from schemas.services import SERVICE_SCOPES

app = typer.Typer(help="Add, change, list and remove services, and rotate and revoke their keys.", no_args_is_help=True)
app.add_typer(incoming_webhooks.app, name="hook")

SHOWN_ONCE = "this key is shown only now; send it as Authorization: Bearer gwk_…"

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command()
def add(
    name: Name,
    scope: Annotated[list[str], typer.Option(help=f"What it may do; may be repeated: {', '.join(SERVICE_SCOPES)}.")],
    rooms: Annotated[
        list[str] | None, typer.Option(help="A pattern of the rooms it may use, such as 'order-*'; may be repeated.")
    ] = None,
) -> None:
    """Add a service and print its key. Without --rooms, it may use every room."""
    settings = load_settings()
    # Not `Path.exists`: it raises in a folder without permission to look.
    is_new = settings.store_url.startswith("sqlite") and not os.path.exists(settings.data_dir)
    key = service_changes.add(name, "service", _known(scope), rooms)
    typer.echo(SHOWN_ONCE, err=True)
    if is_new:  # in the wrong folder, the command would otherwise seem to have done its work
        typer.echo(f"{settings.data_dir.absolute()} is new: only a gateway with this data folder knows it", err=True)
    typer.echo(key.text)


@app.command("set")
def change(
    name: Name,
    scope: Annotated[list[str] | None, typer.Option(help="All that it may do from now on; may be repeated.")] = None,
    rooms: Annotated[
        list[str] | None, typer.Option(help="A pattern of all rooms it may use from now on; '*' for every room.")
    ] = None,
) -> None:
    """Replace the scopes of a service, or the patterns of its rooms. Its keys stay, and the change counts at once."""
    if not scope and not rooms:
        raise StartError(
            "expected --scope or --rooms, with all that the service is to have; see: gateway services list"
        )
    service = service_changes.change(name, _known(scope) if scope else None, rooms or None)
    typer.echo(f"{name} has {service.scopes}, in {'every room' if service.rooms is None else service.rooms}")


@app.command("list")
def list_services() -> None:
    """List all services, each with its keys."""
    from rich.table import Column, Table  # which no other of these commands needs

    scopes, rooms = (Column(name, overflow="fold") for name in ("scopes", "rooms"))
    table = Table("service", scopes, rooms, Column("key", no_wrap=True), "last used", "ends")
    for service, keys in service_changes.list_all("service"):
        of_rooms = "every" if service.rooms is None else service.rooms
        first = (service.name, service.scopes.replace(" ", "\n"), of_rooms.replace(" ", "\n"))
        for number, key in enumerate(keys or [None]):
            table.add_row(*(("", "", "") if number else first), *_of_key(key))
    print_table(table)


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[
        float, typer.Option(min=0, max=24 * 366, help="Hours for which the old keys count as well.")
    ] = 24,
) -> None:
    """Print a new key of a service. The old ones count until the overlap is over."""
    key = service_changes.rotate(name, overlap)
    typer.echo(f"{SHOWN_ONCE}\nthe old keys of {name} end in {overlap:g} hours", err=True)
    typer.echo(key.text)


@app.command()
def revoke(
    name: Name,
    key: Annotated[
        str | None, typer.Option(help="The id of one key, as `gateway services list` shows it; without it, all keys.")
    ] = None,
) -> None:
    """Revoke the keys of a service. They and their tokens open nothing any more, and their sockets close."""
    revoked = service_changes.revoke(name, key)
    typer.echo(f"revoked {' '.join(revoked) or 'nothing'}")


@app.command()
def remove(name: Name) -> None:
    """Remove a service and revoke its keys. Its messages stay."""
    service_changes.remove(name, "service")
    typer.echo(f"removed {name}")


def _known(scopes: list[str]) -> list[str]:
    for scope in scopes:
        if scope not in SERVICE_SCOPES:
            raise StartError(f"--scope: expected one of {', '.join(SERVICE_SCOPES)}, got {scope!r}")
    return scopes


def _of_key(key: ServiceKeyRow | None) -> tuple[str, ...]:
    return ("none", "", "") if key is None else (key.id, _minute(key.last_used_at), _minute(key.expires_at))


def _minute(time: int | None) -> str:
    return "" if time is None else timestamp(time)[:16].replace("T", " ")
