"""Measures what a start costs: `python -m benchmarks.start`.

Processes run one after the other, in turn: an import of the application, a start on a new data folder and a later
start, beside the application of FastAPI's tutorial. A start ends as soon as the server has said that it is complete.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import START_SECONDS, temporary_folder

ROOT = Path(__file__).parents[1]
COMPLETE = "Application startup complete"
TUTORIAL = "benchmarks.peers.tutorial_log_in"


@dataclass(frozen=True)
class Start:
    """A process to measure."""

    name: str
    arguments: tuple[str, ...]
    """What Python runs."""
    beside: str
    """The name of the start of the tutorial's to compare with."""


def _importing(modules: str) -> tuple[str, ...]:
    return ("-c", f"import signal, {modules}; print({COMPLETE!r}, flush=True); signal.pause()")


STARTS = (
    Start("tutorial: import", _importing(f"uvicorn, {TUTORIAL}"), "tutorial: import"),
    Start("tutorial: start", ("-m", "uvicorn", f"{TUTORIAL}:app", "--port", "0"), "tutorial: start"),
    Start("gateway: import", _importing("gateway.asgi"), "tutorial: import"),
    Start("gateway: first start", ("-m", "gateway", "serve", "--port", "0"), "tutorial: start"),
    Start("gateway: later start", ("-m", "gateway", "serve", "--port", "0"), "tutorial: start"),
)
"""In the order of a turn: the first start of the gateway makes the data folder for the later one."""


@dataclass(frozen=True)
class Cost:
    """What a process has used from its first to its last instruction."""

    cpu_seconds: float
    rss_mb: float
    """The most memory that it held until its start was complete, in MB of 1,048,576 bytes."""


def measure(starts: Sequence[Start], rounds: int) -> dict[str, Cost]:
    """Return the medians of so many turns, by the names of the starts. Each turn has a data folder of its own."""
    found: dict[str, list[Cost]] = {start.name: [] for start in starts}
    for _ in range(rounds):
        with temporary_folder() as folder:
            for start in starts:
                found[start.name].append(_run(start, folder))
    return {name: _median(costs) for name, costs in found.items()}


def _run(start: Start, folder: Path) -> Cost:
    process = subprocess.Popen(  # noqa: S603 - a program of this package
        [sys.executable, *start.arguments],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    hung = Timer(START_SECONDS, process.kill)
    hung.start()
    rss_kb = 0
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with process.stdout as output:
        lines = []
        for line in output:
            lines.append(line)
            if COMPLETE in line:
                rss_kb = _most_memory_kb(process.pid)
                process.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(process.pid, 0)
    hung.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -signal.SIGTERM) or not rss_kb:
        raise RuntimeError(f"{start.name} failed with {process.returncode}:\n{''.join(lines)}")
    return Cost(used.ru_utime + used.ru_stime, rss_kb / 1024)


def _most_memory_kb(pid: int) -> int:
    # `ru_maxrss` would count this process as well, which the other one was before it became Python.
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


def _environment(folder: Path) -> dict[str, str]:
    # With bytecode, as after an installation.
    left_out = {"PYTHONDONTWRITEBYTECODE"} | {name for name in os.environ if name.startswith("GATEWAY_")}
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return inherited | {"GATEWAY_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT)}


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(cost.cpu_seconds for cost in costs), median(cost.rss_mb for cost in costs))


def table_of(starts: Sequence[Start], costs: dict[str, Cost]) -> Table:
    """Build the table of the figures, each with its ratio to the tutorial's."""
    table = Table(title="What a start costs", caption=machine())
    table.add_column("what")
    for column in ("CPU s", "by the tutorial's", "MB of RSS"):
        table.add_column(column, justify="right")
    for start in starts:
        cost = costs[start.name]
        ratio = cost.cpu_seconds / costs[start.beside].cpu_seconds
        table.add_row(start.name, f"{cost.cpu_seconds:.2f}", f"{ratio:.2f}", f"{cost.rss_mb:.1f}")
    return table


def main(
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How many turns to measure.")] = 9,
    json_file: JsonFile = None,
) -> None:
    """Measure the CPU time and the memory of a start, beside the tutorial's."""
    measure(STARTS, rounds=1)  # compiles what has no bytecode yet
    costs = measure(STARTS, rounds)
    Console().print(table_of(STARTS, costs))
    if json_file is not None:
        write_figures(
            json_file,
            {"machine": machine(), "results": [{"what": name} | asdict(cost) for name, cost in costs.items()]},
        )


if __name__ == "__main__":
    typer.run(main)
