"""`gateway services hook`: URLs that speak in one room, for scripts, CI and monitors."""

import secrets
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from gateway.cli import service_changes
from gateway.cli.printable import print_table
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError
from schemas.base import timestamp
from schemas.names import RoomName
from schemas.services import PUBLISH

app = typer.Typer(help="Add, list and remove incoming webhooks: URLs that speak in one room.", no_args_is_help=True)

THIS_MACHINE = "http://127.0.0.1:8000"
SHOWN_ONCE = "this URL is shown only now, and everyone that has it can speak in the room"


@app.command()
def add(
    room: Annotated[str, typer.Argument(metavar="ROOM", show_default=False)],
    name: Annotated[str | None, typer.Option(help="The sender of its messages is service:NAME.")] = None,
    url: Annotated[str | None, typer.Option(help="The public URL of the gateway.")] = None,
) -> None:
    """Add an incoming webhook and print its URL, to POST {"text": "…"}, a form or plain text to."""
    try:
        TypeAdapter(RoomName).validate_python(room)
    except ValidationError as error:
        raise StartError(f"ROOM: {error.errors()[0]['msg']}") from None
    base = _base(url)
    key = service_changes.add(name or f"hook-{secrets.token_hex(3)}", "hook", [PUBLISH], [room], room)
    typer.echo(SHOWN_ONCE, err=True)
    typer.echo(f"{base}/hook/{key.text}")


@app.command("list")
def list_hooks() -> None:
    """List all incoming webhooks, without their URLs."""
    from rich.table import Table  # which no other of these commands needs

    table = Table("webhook", "room", "key", "since", "last used")
    for hook, keys in service_changes.list_all("hook"):
        used = max((key.last_used_at or 0 for key in keys), default=0)
        ids = " ".join(key.id for key in keys) or "none"
        table.add_row(hook.name, hook.room, ids, timestamp(hook.created_at)[:10], timestamp(used) if used else "")
    print_table(table)


@app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Remove an incoming webhook, so that its URL does nothing any more. Its messages stay."""
    service_changes.remove(name, "hook")
    typer.echo(f"removed {name}")


def _base(url: str | None) -> str:
    """Return the gateway's URL: the option, or else where the issuer of tokens is, or else this machine."""
    if url is None:
        settings = load_settings()
        issuer = urlsplit(settings.token_issuer)
        origin = f"{issuer.scheme}://{issuer.netloc}" if issuer.scheme in {"http", "https"} else THIS_MACHINE
        url = origin + settings.root_path
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise StartError(f"--url: expected a URL such as https://chat.example.com, got {url!r}")
    return url.rstrip("/")
