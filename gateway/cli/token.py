"""`gateway token`: prints a token to paste into Postman, or checks one of another service."""

from typing import Any

import typer
from typer.core import TyperGroup

from gateway.cli.token_check import check
from gateway.cli.token_print import token

DEFAULT = "print"


class _Commands(TyperGroup):
    """The commands, of which `print` needs no name: `gateway token alice` is `gateway token print alice`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front of anything that names none."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Print an access token of a user (`gateway token USER`), or check one of another service.",
    no_args_is_help=True,
    subcommand_metavar="USER | check FILE",
)
app.command(DEFAULT)(token)
app.command()(check)
