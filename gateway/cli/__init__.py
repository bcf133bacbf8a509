"""The command `gateway`."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from gateway.cli import chat, db, keys, run, settings, token, users
from gateway.startup import StartError

app = typer.Typer(
    name="gateway",
    help="A JWT-secured JSON gateway. Settings are GATEWAY_… variables or lines of .env; see .env.example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"json-gateway {version('json-gateway')}")
        raise typer.Exit


@app.callback()
def gateway(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of the command itself."""


app.command("serve")(run.serve)
app.command("dev")(run.dev)
app.command("settings")(settings.settings)
app.command("token")(token.token)
app.command("chat")(chat.chat)
app.add_typer(users.app, name="users")
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command. What the operator must mend is told in plain lines, and exits with 1."""
    try:
        app()
    except StartError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)  # noqa: T201 - this is the command's output
        sys.exit(1)
