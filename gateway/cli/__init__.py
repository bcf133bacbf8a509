"""The command `gateway`, with one module for each of its commands.

Read `run` first: `gateway serve` and `gateway dev`, with the server in `serve`, several processes in `workers` and a
bus for development in `own_valkey`. `chat`, `users` (with `import_file`, `user_deletion` and `user_export`), `groups`,
`rooms`, `services` (with `incoming_webhooks` and `service_changes`), `publish`, `keys`, `routes`, `hooks`, `db`,
`doctor`, `token` (with `token_print` and `token_check`), `settings`, `new` and `export` (with `export_folder`) are
commands. `store` opens the store for one command, and `live_log` the log of rooms beside running gateways.
`output_file` writes exports, `user_name` and `gateway_address` read what a person types, and `hangup` handles SIGHUP.

`workers` starts each of its processes as a `worker`, and `replacement` is their rolling restart.

`gateway conformance` is in `gateway/conformance`, above this folder.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from gateway import __version__
from gateway.core.garbage import collect_nothing_yet
from gateway.core.start_error import StartError

COMMANDS = {
    "serve": "gateway.cli.run:serve",
    "dev": "gateway.cli.run:dev",
    "status": "gateway.cli.status:status",
    "tail": "gateway.cli.tail:tail",
    "kick": "gateway.cli.kick:kick",
    "announce": "gateway.cli.announce:announce",
    "drain": "gateway.cli.drain:drain",
    "restart": "gateway.cli.restart:restart",
    "log-level": "gateway.cli.log_level:log_level",
    "settings": "gateway.cli.settings:settings",
    "token": "gateway.cli.token:app",
    "chat": "gateway.cli.chat:chat",
    "users": "gateway.cli.users:app",
    "groups": "gateway.cli.groups:app",
    "rooms": "gateway.cli.rooms:app",
    "services": "gateway.cli.services:app",
    "publish": "gateway.cli.publish:publish",
    "keys": "gateway.cli.keys:app",
    "routes": "gateway.cli.routes:app",
    "hooks": "gateway.cli.hooks:app",
    "db": "gateway.cli.db:app",
    "doctor": "gateway.cli.doctor:doctor",
    "new": "gateway.cli.new:app",
    "export": "gateway.cli.export:app",
    "conformance": "gateway.conformance.command:conformance",
}
"""The commands in the order of the help, each with the place of its function or its group of commands."""


class _Commands(Mapping[str, Any]):
    """Import a command only when it is used, since importing all of them takes longer than most commands."""

    def __getitem__(self, name: str) -> Any:
        found = resolve_name(COMMANDS[name])
        holder = typer.Typer()
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
        return get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Gateway(TyperGroup):
    """The group of the commands in the table above."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": _Commands()})


app = typer.Typer(
    name="gateway",
    cls=_Gateway,
    help="A JWT-secured JSON gateway. Settings are GATEWAY_… variables or lines of .env; see .env.example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"json-gateway {__version__}")
        raise typer.Exit


@app.callback()
def gateway(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Define the options of the command itself."""


def main() -> None:
    """Run the command. Print what the operator must correct in plain lines, and exit with 1."""
    _heed_sigterm()
    _survive_sigusr1()
    collect_nothing_yet()
    try:
        app()
    except StartError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)  # noqa: T201 - this is the command's output
        sys.exit(1)


def _heed_sigterm() -> None:
    """End at SIGTERM also as the first process of a container. Without a handler, that one would never see it."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _survive_sigusr1() -> None:
    """Ignore SIGUSR1 until `gateway serve` heeds it. By default, it would end a gateway that still starts."""
    if threading.current_thread() is threading.main_thread():  # no other thread may set a handler
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
