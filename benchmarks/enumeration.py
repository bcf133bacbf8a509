"""Measures whether the time of a refused log-in reveals that a user exists: `python -m benchmarks.enumeration`.

It tries six kinds of wrong passwords, one at a time, alternately for existing and for unknown users. The table shows
the median of each, and their difference.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import Server, temporary_folder

CONSOLE = Console(stderr=True)
PASSWORD = "correct horse battery staple"  # noqa: S105 - of users that exist as long as this program

KINDS = {
    "wrong": "a wrong password",
    "right but for its end": PASSWORD + "!",
    "too short": "1234567",
    "73 bytes": "x" * 73,
    "5,000 bytes": "x" * 5000,
    "with a NUL": "secret\0secret",
}


@dataclass(frozen=True)
class Result:
    """Medians of one kind of password, in milliseconds."""

    kind: str
    known: float
    unknown: float
    apart: float
    """The median difference of the two attempts of one turn: a busy moment of the machine affects both."""


async def measure(log_ins: int, rounds: int) -> list[Result]:
    """Try `log_ins` log-ins in all, against a gateway with hashes of `rounds` rounds."""
    with temporary_folder() as folder:
        server = Server(folder, None)
        server.environment["GATEWAY_PASSWORD_ROUNDS"] = str(rounds)
        async with server.running(), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            each = max(1, log_ins // (2 * len(KINDS)))
            for number in range(each):
                user = {"username": f"known-{number}", "password": PASSWORD}
                (await http.post("/users", json=user)).raise_for_status()
            return [await _measure_kind(http, kind, each) for kind in KINDS]


async def _measure_kind(http: httpx2.AsyncClient, kind: str, each: int) -> Result:
    seconds: dict[str, list[float]] = {"known": [], "other": []}
    answers = set()
    for number in range(each):
        # Reverse the order each time, so that neither is always the second one.
        for who in sorted(seconds, reverse=number % 2 == 1):
            began = time.perf_counter()
            form = {"username": f"{who}-{number}", "password": KINDS[kind]}
            answer = await http.post("/token", data=form)
            seconds[who].append(time.perf_counter() - began)
            answers.add((answer.status_code, answer.text))
    if len(answers) != 1:
        raise RuntimeError(f"the answers differ: {answers}")
    known, other = seconds["known"], seconds["other"]
    differences = [one - two for one, two in zip(known, other, strict=True)]
    return Result(kind, 1000 * median(known), 1000 * median(other), 1000 * abs(median(differences)))


def table_of(results: Sequence[Result]) -> Table:
    """Build the table of the results."""
    table = Table(title="Refused log-ins", caption=machine())
    for heading in ("password", "user exists, ms", "unknown, ms", "apart, ms"):
        table.add_column(heading, justify="left" if heading == "password" else "right")
    for result in results:
        table.add_row(result.kind, f"{result.known:.1f}", f"{result.unknown:.1f}", f"{result.apart:.1f}")
    return table


def main(
    log_ins: Annotated[int, typer.Option(min=12, max=10_000, help="How many log-ins in all.")] = 200,
    rounds: Annotated[int, typer.Option(min=4, max=16, help="The cost of a hash.")] = 12,
    json_file: JsonFile = None,
) -> None:
    """Measure the time of a refused log-in, for existing and for unknown users."""
    CONSOLE.print(f"{log_ins} log-ins, one at a time")
    results = asyncio.run(measure(log_ins, rounds))
    Console().print(table_of(results))
    if json_file is not None:
        figures = [asdict(result) for result in results]
        write_figures(json_file, {"machine": machine(), "results": figures})


if __name__ == "__main__":
    typer.run(main)
