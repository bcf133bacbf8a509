"""`gateway drain`: sends the clients of a node to the others, so that it can be stopped without a crowd."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.durations import in_words, seconds_of
from gateway.cli.processes import Answers, NoAnswer, ask_all, counted, data_folder, end, find, run, short
from gateway.core.local_socket import Data
from gateway.core.start_error import StartError
from gateway.operating.draining import MAX_SECONDS

LOOK_SECONDS = 0.5
DRAIN_KEYS = ("concerned", "draining", "changed")
MAX_WAIT_SECONDS = 24 * 3600.0


def drain(
    node: Annotated[
        list[str] | None, typer.Option(help="The id of a node, or its beginning; may be repeated. See: gateway status")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All nodes.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take newcomers again.")] = False,
    over: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long the leaving takes; by default what others need.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Wait at most so long for the last connection to leave.")
    ] = None,
) -> None:
    """Let the node of this data folder take no newcomers, and send its clients to others, one after the other.

    GET /readyz answers 503 from now on, so a load balancer leads no client there. The process stays until it is
    stopped.
    """
    if node and all_:
        raise StartError("expected --node or --all, got both")
    asked: Data = {"undo": undo, "over": None if over is None else seconds_of(over, "--over", MAX_SECONDS)}
    seconds = None if wait is None else seconds_of(wait, "--wait", MAX_WAIT_SECONDS)
    if undo and (over or wait):
        raise StartError("--undo: expected neither --over nor --wait with it")
    run(_drain(data_folder(), asked, node or [], everywhere=all_, seconds=seconds))


async def _drain(folder: Path, asked: Data, ids: list[str], *, everywhere: bool, seconds: float | None) -> None:
    nodes = None if everywhere else await (_named(folder, ids) if ids else _here(folder))
    answers = await ask_all(folder, "drain", {**asked, "nodes": nodes}, DRAIN_KEYS)
    concerned = {node for node, each in answers.nodes.items() if each["concerned"]}
    for node in sorted(concerned):
        typer.echo(_line(node, answers.nodes[node]))
    if answers.nodes and not asked["undo"] and all(each["draining"] for each in answers.nodes.values()):
        typer.echo("gateway: no node is left that takes newcomers", err=True)
    problems = answers.problems
    if not concerned and not problems:
        problems = ["no node has answered the drain; it may have ended"]
    if seconds is not None and concerned:
        problems = [*problems, *await _wait(folder, concerned, seconds)]
        if not problems:
            typer.echo("all connections have left")
    end(problems)


async def _here(folder: Path) -> list[str]:
    found = await find(folder)
    found.check()
    return [process.node for process in found.running]


async def _named(folder: Path, ids: list[str]) -> list[str]:
    known = (await ask_all(folder, "status", {})).nodes
    return [_match(typed, list(known)) for typed in ids]


def _match(typed: str, known: list[str]) -> str:
    found = [node for node in known if typed and node.startswith(typed)]
    if len(found) != 1:
        which = "more than one node" if found else "no node"
        raise StartError(f"--node: {which} has an id like {typed}; there are: {', '.join(map(short, sorted(known)))}")
    return found[0]


def _line(node: str, answer: Data) -> str:
    if not answer["draining"]:
        return f"node {short(node)} takes newcomers" + (" again" if answer["changed"] else "")
    already = "" if answer["changed"] else " already"
    within = in_words(max(1, round(answer.get("seconds", 0))))
    left = counted(answer.get("connections", 0), "connection")
    return f"node {short(node)} drains{already}: {left} to leave within {within}"


async def _wait(folder: Path, nodes: set[str], seconds: float) -> list[str]:
    """Wait until nodes have no connection, and return a line for each that may have some after these seconds."""
    left: list[str] | None = None
    try:
        async with asyncio.timeout(seconds):
            while left := await _left(folder, nodes):  # noqa: ASYNC110 - no node announces it
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return left or [f"no node answered within {in_words(seconds)}"]
    return []


async def _left(folder: Path, nodes: set[str]) -> list[str]:
    """Return a line for each node that has connections, or may have some: a silent node keeps its clients."""
    try:
        answers = await ask_all(folder, "status", {}, ["now.connections"])
    except NoAnswer as error:
        answers = Answers(problems=str(error).splitlines())
    lines = []
    for node in sorted(nodes):
        if node not in answers.nodes:
            # It has ended only if nothing is silent: a process that hangs has no id to compare.
            lines += [f"node {short(node)} does not answer, and may have connections"] if answers.problems else []
        elif count := int(answers.nodes[node]["now"]["connections"]):
            lines.append(f"node {short(node)} has {counted(count, 'connection')} left")
    return lines
