"""`gateway tail`: what passes through all nodes, as it happens."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gateway.cli.printable import printable
from gateway.cli.processes import Process, counted, data_folder, find, run, short
from gateway.core.local_socket import Data, LocalFailed, LocalUnavailable, stream
from gateway.core.start_error import StartError
from schemas.names import normalized_user_name

AGAIN_SECONDS = 0.5
GIVE_UP_SECONDS = 10.0
"""How long to wait for another process after the asked one has ended, as in a rolling restart."""

_STYLES = {"in": "cyan", "out": "green", "refused": "red", "gap": "bold red", "end": "yellow", "open": "blue"}
_OWN_PLACES = frozenset({"at", "what", "type", "user", "room", "node", "body"})


def tail(
    room: Annotated[str | None, typer.Option(help="Only what concerns this room.")] = None,
    user: Annotated[str | None, typer.Option(help="Only what this user does.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this type, such as chat.send or chat.*, or kind of line.")
    ] = None,
    connection: Annotated[str | None, typer.Option(help="Only what comes over this connection.")] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Show what messages say; the audit log notes it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each line.")] = False,
) -> None:
    """Show what happens on all nodes: messages in and events out, joins, log-ins, refusals, ends of connections.

    Each tail leaves a line in the audit log, with your user. What comes too fast to show is counted as lost.
    """
    asked = {
        "room": room,
        "user": None if user is None else normalized_user_name(user),
        "type": type_,
        "connection": connection,
        "bodies": bodies,
    }
    try:
        run(_Tail(data_folder(), asked, _Printer(as_json=as_json)).follow())
    except KeyboardInterrupt:
        raise typer.Exit from None


class _Printer:
    """Prints lines for a person, or for a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._nodes: set[str] = set()

    def print(self, part: Data) -> None:
        """Print the lines of a part, and how many were lost."""
        if not self._nodes and part["nodes"] and not self._as_json:
            self.notify(f"shows what passes through {counted(len(part['nodes']), 'node')} from now on")
        self._nodes.update(part["nodes"])
        lines = part["lines"] + ([{"what": "lost", "lines": part["lost"]}] if part["lost"] else [])
        if not lines:
            return
        if self._as_json:
            sys.stdout.write("".join(f"{printable(json.dumps(line, ensure_ascii=False))}\n" for line in lines))
            sys.stdout.flush()
            return
        for line in lines:
            self._console.print(self._text(line))

    def notify(self, words: str) -> None:
        """Print a notice beside the lines."""
        typer.echo(f"gateway: {words}", err=True)

    def _text(self, line: dict[str, Any]) -> Text:
        what = str(line.get("what", ""))
        text = Text(f"{_time(line.get('at'))}  ", style="dim")
        if len(self._nodes) > 1:
            text.append(f"{short(str(line.get('node', ''))):8}  ", style="dim")
        text.append(f"{printable(what):10} ", style=_STYLES.get(what, "magenta"))
        text.append(f"{printable(str(line.get('type', ''))):16} ", style="bold not dim")
        text.append(
            f"{printable(str(line.get('user', ''))):12} {printable(str(line.get('room', ''))):12} ", style="not dim"
        )
        facts = " ".join(f"{name}={fact}" for name, fact in line.items() if name not in _OWN_PLACES)
        text.append(printable(facts), style="dim")
        if "body" in line:
            text.append(f"  {printable(str(line['body']))}", style="not dim")
        text.rstrip()
        return text


@dataclass
class _Tail:
    folder: Path
    asked: Data
    printer: _Printer

    async def follow(self) -> None:
        """Print what the nodes send. If the asked process ends, ask another one."""
        last_seen = time.monotonic()
        is_first = True
        while True:
            found = await find(self.folder)
            if is_first:
                found.check()
                is_first = False
            if found.running:
                await self._follow_all(found.running)
                last_seen = time.monotonic()
                self.printer.notify("the process has ended; looking for another one")
            elif time.monotonic() - last_seen > GIVE_UP_SECONDS:
                found.check()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _follow_all(self, running: list[Process]) -> None:
        """Follow the first process until its end, and each process that it does not reach."""
        first, *others = running
        rest: dict[str, asyncio.Task[None]] = {}
        try:
            async for part in _parts(first, self.asked):
                for process in others if part["nodes"] else ():
                    is_reached = process.node in part["nodes"]
                    task = rest.get(process.node)
                    if is_reached and task is not None:
                        task.cancel()
                        del rest[process.node]
                    elif not is_reached and task is None:
                        rest[process.node] = asyncio.create_task(self._follow_one(process))
                self.printer.print(part)
        finally:
            for task in rest.values():
                task.cancel()
            await asyncio.gather(*rest.values(), return_exceptions=True)

    async def _follow_one(self, process: Process) -> None:
        async for part in _parts(process, {**self.asked, "only_here": True}):
            self.printer.print(part)


async def _parts(process: Process, asked: Data) -> AsyncGenerator[Data, None]:
    """Yield what a process sends, until it ends. Raise `StartError` for what it refuses."""
    try:
        async with aclosing(stream(process.path, "tail", asked)) as parts:
            async for part in parts:
                yield part
    except LocalFailed as error:
        raise StartError(str(error)) from None
    except LocalUnavailable:
        return


def _time(at: object) -> str:
    try:
        return datetime.fromisoformat(str(at)).astimezone().strftime("%H:%M:%S.%f")[:12]
    except ValueError:
        return " " * 12
