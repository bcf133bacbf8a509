"""`gateway hooks`: shows what waits for the hooks of the routes file, tries one, and lets a hook begin anew."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated

import typer
from rich.table import Column, Table
from sqlalchemy import Connection

from gateway.cli.printable import print_table, printable
from gateway.cli.store import with_database
from gateway.config.settings import Settings, load_settings
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.start_error import StartError
from gateway.routes.file import WrongRoutes, read
from gateway.routes.model import Hook
from gateway.routes.surroundings import Surroundings
from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database
from gateway.store.outgoing_events import Figures
from gateway.store.webhooks import WebhookRow
from gateway.upstream.client import new_message_id
from gateway.webhooks.delivery import Delivery, Event, Outcome
from schemas.base import timestamp

app = typer.Typer(help="Look after the hooks of the routes file.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The hook's name in the routes file.")]


@app.command("list")
def list_hooks() -> None:
    """List all hooks: what waits, what is parked, the oldest event, and the last failure."""
    settings = load_settings()
    try:
        in_file: Mapping[str, Hook] | None = _hooks(settings)
    except WrongRoutes as wrong:  # what waits is in the store, and an operator may need it just now
        typer.echo(f"gateway: {wrong}", err=True)
        in_file = None
    rows, figures = with_database(_read, settings)
    names = sorted({*(in_file or ()), *rows, *figures})
    if not names:
        typer.echo("there is no hook; docs/routes.md says how to write one")
        return
    # Nothing is cut off on a narrow terminal: an operator reads the reason of a failure here.
    fold, whole = partial(Column, overflow="fold"), partial(Column, no_wrap=True)
    table = Table(whole("hook"), fold("state"), "waiting", "parked", fold("oldest"), fold("last failure"))
    now = milliseconds(SystemClock())
    for name in names:
        row, count = rows.get(name, WebhookRow(name)), figures.get(name, Figures())
        state = _state(row, is_in_file=in_file is None or name in in_file)
        # A time in the future is that of an event which is not due.
        oldest = "" if count.oldest_at is None or count.oldest_at > now else _time(count.oldest_at)
        failure = "" if row.failed_at is None else f"{_time(row.failed_at)} {printable(str(row.last_error))}"
        table.add_row(name, state, str(count.waiting), str(count.parked), oldest, failure)
    print_table(table)


@app.command()
def test(name: Name) -> None:
    """Send a `hook.test` event now, and print how the receiver has answered."""
    settings = load_settings()
    hook = _hooks(settings).get(name)
    if hook is None:
        raise _unknown(name)
    outcome = asyncio.run(_send_test(hook, settings))
    typer.echo(f"{name}: {outcome.reason}; the event was {'' if outcome.result == 'delivered' else 'not '}delivered")
    if outcome.result != "delivered":
        raise typer.Exit(1)


@app.command()
def retry(name: Name) -> None:
    """Enable a hook, and let all its events go out at once, also the parked ones."""

    async def work(database: Database, _: Settings) -> tuple[bool, int]:
        return await database.transact(partial(_retry, name=name))

    is_known, parked = with_database(work)
    if not is_known:
        raise _unknown(name)
    typer.echo(f"{name} is enabled, and all that waits goes out now; {parked} events were parked")


@app.command()
def clear(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them without a question.")] = False
) -> None:
    """Remove all events of a hook, and a hook that is no longer in the routes file with them."""
    settings = load_settings()
    if not yes:
        typer.confirm(f"Remove all events that wait for {name}?", abort=True)
    is_gone = name not in _hooks(settings)

    async def work(database: Database, _: Settings) -> int:
        return await database.transact(partial(_clear, name, is_gone))

    typer.echo(f"removed {with_database(work, settings)} events of {name}")


def _hooks(settings: Settings) -> Mapping[str, Hook]:
    if settings.routes is None:
        return {}
    # The scopes of an application's own handlers are no matter of its hooks.
    return read(settings.routes, Surroundings.of(settings, None)).routes.hooks


async def _read(database: Database, _: Settings) -> tuple[dict[str, WebhookRow], dict[str, Figures]]:
    return await database.query(lambda at: (webhooks.list_all(at), outgoing_events.figures(at)))


def _retry(connection: Connection, name: str) -> tuple[bool, int]:
    return webhooks.enable(connection, name), outgoing_events.retry(connection, name)


def _clear(name: str, is_gone: bool, connection: Connection) -> int:
    if is_gone:
        webhooks.forget(connection, name)
    return outgoing_events.clear(connection, name)


async def _send_test(hook: Hook, settings: Settings) -> Outcome:
    clock = SystemClock()
    delivery = Delivery(hook, settings.token_issuer, clock)
    try:
        about = f'{{"hook":"{hook.name}"}}'
        return await delivery.send(Event(new_message_id(), "hook.test", hook.name, about, milliseconds(clock)))
    finally:
        await delivery.close()


def _state(row: WebhookRow, *, is_in_file: bool) -> str:
    if not is_in_file:
        return "not in the routes file"
    return "enabled" if row.disabled_at is None else f"disabled since {_time(row.disabled_at)}"


def _time(at: int) -> str:
    return timestamp(at)[:-5] + "Z"


def _unknown(name: str) -> StartError:
    return StartError(f"there is no hook {name}; see: gateway hooks list")
