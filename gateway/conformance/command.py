"""`gateway conformance`: plays stories with a client, behind a server that misbehaves."""

import asyncio
import json
import logging
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Annotated

import typer

from gateway.conformance.play import Pace, Verdict, Worlds, verdicts
from gateway.conformance.stage import shown
from gateway.conformance.story import Story, load_stories, stories_folder
from gateway.core.start_error import StartError

DEFAULT_SCALE = 0.1


def conformance(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="The driver of a client.", show_default=False)
    ] = None,
    story: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Play these stories only; `tokens/*` stands for several.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the stories.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each story.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Print what the client did in a story that failed.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="How many stories to play at a time.")] = 6,
    scale: Annotated[float, typer.Option(min=0.01, help="The factor for the client's own waits.")] = DEFAULT_SCALE,
    patience: Annotated[float, typer.Option(min=0.1, help="The factor for the waits for the client.")] = 1,
) -> None:
    """Judge a client: play stories with it against a live gateway, behind a server that misbehaves.

    COMMAND is a driver: a program that has the client and speaks JSON lines. docs/conformance.md has its protocol.
    """
    stories = _chosen(load_stories(stories_folder()), story or [])
    if list_them:
        for each in stories:
            typer.echo(f"{each.name:<40} {each.about}")
        return
    if not command:
        raise StartError("expected the command of a driver, as in: gateway conformance -- node driver.mjs")
    if shutil.which(command[0]) is None:
        raise StartError(f"COMMAND: expected a program, got {command[0]}, which is none")
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    if not asyncio.run(_run(stories, command, jobs, Pace(scale, patience), as_json=as_json, trace=trace)):
        raise typer.Exit(1)


def _chosen(stories: list[Story], patterns: list[str]) -> list[Story]:
    chosen = [each for each in stories if not patterns or any(_is_meant(each.name, name) for name in patterns)]
    if not chosen:
        raise StartError(f"--story: expected a name of --list, got {', '.join(patterns)}")
    return chosen


def _is_meant(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}[") or fnmatch(name, pattern)


async def _run(stories: list[Story], command: list[str], jobs: int, pace: Pace, *, as_json: bool, trace: bool) -> bool:
    """Print each verdict, and return whether no story has failed."""
    results: list[str] = []
    async with Worlds() as worlds:
        async for verdict in verdicts(stories, command, jobs, pace, worlds):
            results.append(verdict.result)
            typer.echo(json.dumps(verdict.as_dict(), ensure_ascii=False) if as_json else _line(verdict))
            for line in _trace(verdict) if trace and not as_json else ():
                typer.echo(line)
    if not as_json:
        counted = [f"{results.count(result)} {result}" for result in ("passed", "failed", "skipped")]
        typer.echo(f"{len(results)} stories: {', '.join(counted)}")
    return "failed" not in results


def _trace(verdict: Verdict) -> Iterator[str]:
    """Yield a line for each entry: the seconds since the first one, its kind and its data."""
    for entry in verdict.trace:
        yield f"           {entry.at - verdict.trace[0].at:7.3f} {entry.kind:<10} {shown(entry.data)}"


def _line(verdict: Verdict) -> str:
    head = f"{verdict.result:<8} {verdict.story}"
    if verdict.result == "skipped":
        return f"{head} ({verdict.got})"
    if verdict.result == "passed":
        return f"{head} ({verdict.seconds:g} s)"
    return "\n".join(
        (
            f"{head} at step {verdict.step}: {verdict.rule} (docs/protocol.md, {verdict.section})",
            f"           expected {verdict.expected}",
            f"           got      {verdict.got}",
        )
    )
