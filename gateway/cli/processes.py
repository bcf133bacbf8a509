"""Asks the running processes of a data folder, and through one of them all nodes.

The commands find the folder as the gateway does, through `GATEWAY_DATA_DIR`. A process that the bus does not reach is
asked by itself, so these commands work without a bus, and while it is down.

A node of another version may answer otherwise. Where a command names what an answer must have, an answer without it is
a problem in words.
"""

import asyncio
import os
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import typer

from gateway.cli.printable import printable
from gateway.config.settings import load_settings
from gateway.core.local_socket import Data, LocalFailed, LocalTimeout, LocalUnavailable, ask, sockets_in
from gateway.core.start_error import StartError

IDENTITY_SECONDS = 2.0
ANSWER_SECONDS = 6.0
"""More than the process that is asked waits for the other nodes."""

Result = TypeVar("Result")


class NoAnswer(StartError):
    """Processes serve from the data folder, and none answers."""


@dataclass(frozen=True)
class Process:
    """A process that serves from the data folder, and has answered."""

    path: Path
    node: str
    pid: int
    host: str
    supervisor: int | None
    worker: int | None


@dataclass
class Processes:
    """The processes of a data folder: the ones that answer, and a line about the socket of each other one."""

    folder: Path
    running: list[Process] = field(default_factory=list)
    silent: dict[Path, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `NoAnswer` if none answers, and another `StartError` if there is none."""
        if self.silent and not self.running:
            raise NoAnswer("\n".join(self.silent.values()))
        if not self.running:
            raise StartError(_none_in(self.folder))


@dataclass
class Answers:
    """The answers of all nodes, by id, and a line about each node and process that has sent none."""

    nodes: dict[str, Data] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def ask_nodes(name: str, data: Data, needed: Collection[str], *, repeats: bool = True) -> Answers:
    """Ask all nodes, and return their answers, or raise `StartError`. Without `repeats`, no node is asked twice."""
    return run(ask_all(data_folder(), name, data, needed, repeats=repeats))


def data_folder() -> Path:
    """Return the data folder of the settings."""
    return load_settings().data_dir


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine, and raise `StartError` for what a process has refused."""
    try:
        return asyncio.run(work)
    except LocalUnavailable as error:
        raise StartError(str(error)) from None


async def find(folder: Path) -> Processes:
    """Return the processes of a data folder. Raise `StartError` if this user may not look."""
    try:
        paths = await asyncio.to_thread(sockets_in, folder)
    except PermissionError:
        raise StartError(f"cannot look into {folder}/run: run this as the gateway's user, or as root") from None
    found = Processes(folder)
    answers = await asyncio.gather(*(_identified(path) for path in paths))
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, Process):
            found.running.append(answer)
        else:
            found.silent[path] = answer
    return found


async def ask_all(
    folder: Path, name: str, data: Data, needed: Collection[str] = (), *, repeats: bool = True
) -> Answers:
    """Ask all nodes through the first process that answers, and each process that it does not reach.

    `needed` has the keys that the answer of a node must have, such as `draining` or `now.connections`.
    """
    found = await find(folder)
    found.check()
    answers = Answers(problems=list(found.silent.values()))
    missing: set[str] = set()
    is_asked = False
    for process in found.running:
        if process.node in answers.nodes:
            continue
        asked = {**data, "only_here": True} if answers.nodes or (is_asked and not repeats) else data
        is_asked = True
        try:
            answer = await ask(process.path, name, asked, timeout=ANSWER_SECONDS)
        except LocalFailed:
            raise
        except LocalUnavailable as error:
            answers.problems.append(f"process {process.pid}: {error}")
            continue
        answers.nodes |= answer["nodes"]
        missing |= set(answer["missing"])
    answers.problems += [f"node {short(node)} did not answer" for node in sorted(missing - answers.nodes.keys())]
    for node, lacking in sorted(_lacking(answers.nodes, needed).items()):
        del answers.nodes[node]
        answers.problems.append(f"node {short(node)} is of another version: its answer lacks {', '.join(lacking)}")
    return answers


def _lacking(nodes: dict[str, Data], needed: Collection[str]) -> dict[str, list[str]]:
    """Return what the answers lack, by node."""
    found = {node: [place for place in needed if not _has(answer, place)] for node, answer in nodes.items()}
    return {node: lacking for node, lacking in found.items() if lacking}


def _has(answer: Any, place: str) -> bool:
    for key in place.split("."):
        if not isinstance(answer, dict) or key not in answer:
            return False
        answer = answer[key]
    return True


def end(problems: Iterable[str]) -> None:
    """Print what went wrong, and exit with 1 if something did."""
    lines = list(problems)
    for line in lines:
        typer.echo(f"gateway: {printable(line)}", err=True)
    if lines:
        raise typer.Exit(1)


def short(node: str) -> str:
    """Return the beginning of a node's id, as tables show it."""
    return node[:8]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


async def _identified(path: Path) -> Process | str:
    pid = path.stem.partition("-")[0]
    try:
        found = await ask(path, "identity", {}, timeout=IDENTITY_SECONDS)
    except LocalTimeout:
        return f"process {pid} did not answer within {IDENTITY_SECONDS:g} seconds; it may hang"
    except LocalUnavailable as error:
        return f"process {pid}: {error}"
    return Process(path, found["node"], found["pid"], found["host"], found.get("supervisor"), found.get("worker"))


def _none_in(folder: Path) -> str:
    where = os.path.abspath(folder)
    return f"no gateway serves from {where}; name the data folder of the one that you mean with GATEWAY_DATA_DIR"
