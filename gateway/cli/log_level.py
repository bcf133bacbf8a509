"""`gateway log-level`: how much the running processes log."""

from typing import Annotated

import typer

from gateway.cli.durations import in_words, seconds_of
from gateway.cli.processes import ask_nodes, counted, end
from gateway.core.local_socket import Data
from gateway.core.start_error import StartError
from gateway.operating.log_levels import LEVELS, MAX_SECONDS


def log_level(
    level: Annotated[str, typer.Argument(show_default=False, help=f"One of {', '.join(LEVELS)}.")],
    logger: Annotated[str, typer.Option(help="One logger, and all below it, such as gateway.bus.")] = "",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Set it back by itself, after 10m for example.")
    ] = None,
) -> None:
    """Set how much all nodes log, until their end or for some time.

    `reset` sets all loggers back to the start, or one with --logger.
    """
    level = level.lower()
    if level not in LEVELS:
        raise StartError(f"LEVEL: expected one of {', '.join(LEVELS)}")
    seconds = None if for_ is None else seconds_of(for_, "--for", MAX_SECONDS)
    answers = ask_nodes("log-level", {"level": level, "logger": logger, "seconds": seconds}, ["is_set"])
    is_set = [each for each in answers.nodes.values() if each["is_set"]]
    if not is_set and answers.nodes:
        like = sorted({name for each in answers.nodes.values() for name in each.get("like", ())})
        raise StartError(
            f"--logger: there is no logger {logger}" + (f"; did you mean {', '.join(like)}?" if like else "")
        )
    for before, now in sorted({_change(each) for each in is_set}):
        span = "" if seconds is None or level == "reset" else f", for {in_words(seconds)}"
        on = sum(_change(each) == (before, now) for each in is_set)
        typer.echo(f"{logger or 'all loggers'}: {before} → {now}{span}, on {counted(on, 'node')}")
    end(answers.problems)


def _change(answer: Data) -> tuple[str, str]:
    return str(answer.get("before", "?")), str(answer.get("now", "?"))
