"""`gateway restart`: a rolling restart of the workers in this data folder."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.durations import in_words, seconds_of
from gateway.cli.processes import Process, data_folder, end, find, run
from gateway.core.local_socket import ask

LOOK_SECONDS = 0.2
ANSWER_SECONDS = 5.0
MAX_WAIT_SECONDS = 24 * 3600.0


def restart(
    wait: Annotated[
        str, typer.Option(metavar="DURATION", help="How long it may take until this command fails.")
    ] = "10m",
) -> None:
    """Replace the workers of `gateway serve --workers` one after another, without a stop.

    Each new worker has the code and the .env of now. If one does not start, the others go on as they are.
    """
    end(run(_restart(data_folder(), seconds_of(wait, "--wait", MAX_WAIT_SECONDS))))


async def _restart(folder: Path, seconds: float) -> list[str]:
    found = await find(folder)
    found.check()
    problems = list(found.silent.values())
    before = {process.node: process for process in found.running}
    # Containers that share a data folder number their processes alike.
    for first in {(process.host, process.supervisor): process for process in found.running}.values():
        await ask(first.path, "restart", {}, timeout=ANSWER_SECONDS)
    left = set(before)
    try:
        async with asyncio.timeout(seconds):
            while left:
                await asyncio.sleep(LOOK_SECONDS)
                found = await find(folder)
                now = {process.node: process for process in found.running}
                ended = {node for node in left - now.keys() if before[node].path not in found.silent}
                _print_ended([before[node] for node in ended], now)
                left -= ended
    except TimeoutError:
        pids = ", ".join(str(before[node].pid) for node in sorted(left))
        return [*problems, f"after {in_words(seconds)}, these workers are still the old ones: {pids}; the log says why"]
    if not problems:
        typer.echo("all workers are new")
    return problems


def _print_ended(ended: list[Process], now: dict[str, Process]) -> None:
    for old in sorted(ended, key=lambda process: process.pid):
        new = [process for process in now.values() if _place(process) == _place(old) and process.node != old.node]
        successor = f", and {new[0].pid} serves in its place" if new and old.worker is not None else ""
        typer.echo(f"worker {old.pid} has ended{successor}")


def _place(process: Process) -> tuple[str, int | None, int | None]:
    """Return what an old worker and its successor have in common."""
    return process.host, process.supervisor, process.worker
