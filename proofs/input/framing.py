"""RFC 6455: all cases of Autobahn's list that can be run, under the gateway's own protocol and uvicorn's three."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rig import Person, database_for, populate, temporary_folder
from proofs.bar import Bar, Report
from proofs.input.play import Result, Verdict, play_all
from proofs.input.rfc6455 import MAX_FRAME_BYTES, all_cases
from proofs.logs import wrong_lines
from proofs.server import Server

OWN = "gateway serve"
OTHERS = ("websockets-sansio", "websockets", "wsproto")
"""The protocols of uvicorn, by the values of its option `--ws`."""

KNOWN = {"websockets-sansio": {"7.1.5"}}
"""What fails under uvicorn 0.54: a close frame between two fragments gets 1002. The gateway's own protocol mends it."""

KNOWN_LINES = {"websockets-sansio": {"ERROR:    Invalid UTF-8 sequence received from client."}}
"""What uvicorn's protocols report as errors, although it is a mistake of the client."""

SLOW = {"websockets", "wsproto"}
"""Those that take minutes for messages of 16 MB (9.*), which their own limits end."""

LIMITS = {"GATEWAY_MAX_PROTOCOL_ERRORS": "0"}


class AsgiServer(Server):
    """`uvicorn gateway.asgi:app`, with one of uvicorn's own protocols."""

    end_status = -signal.SIGTERM  # uvicorn drains, and then sends itself the signal again

    def __init__(self, folder: Path, database_url: str, protocol: str) -> None:
        super().__init__(folder, database_url, **LIMITS)
        self.arguments = ["gateway.asgi:app", "--port", str(self.port), "--log-level", "warning"]
        self.arguments += ["--ws", protocol, "--ws-max-size", str(MAX_FRAME_BYTES)]

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "uvicorn", *self.arguments], **options)  # noqa: S603 - our own


async def prove_framing(report: Report) -> list[Bar]:
    """Play all cases, first with `gateway serve`."""
    cases = list(all_cases())
    people = [Person(f"player-{number}") for number in range(len(cases))]
    bars = []
    with temporary_folder() as folder:
        url = f"sqlite:///{folder / 'gateway.db'}"
        database = database_for(url)
        await populate(database, people, {})
        await database.close()
        for name, server in servers_of(folder, url).items():
            played = [case for case in cases if name not in SLOW or not case.number.startswith("9.")]
            async with server.running():
                tokens = [person.token for person in people[: len(played)]]
                results = await play_all(played, server.port, tokens)
            bars.append(bar_of(name, results))
            report(f"RFC 6455, {name}: {bars[-1].found}")
            words = f"lines of the log that report a fault, under {_under(name)}"
            bars.append(wrong_lines(words, server.log, known=KNOWN_LINES.get(name, ())))
    return bars


def servers_of(folder: Path, url: str) -> dict[str, Server]:
    """Return the servers by name, each with a log of its own."""
    servers = {OWN: Server(folder, url, **LIMITS)} | {each: AsgiServer(folder, url, each) for each in OTHERS}
    for name, server in servers.items():
        server.log = folder / f"{name}.log"
    return servers


def bar_of(name: str, results: Sequence[Result]) -> Bar:
    """Return the bar of a protocol. The gateway's own must send a close frame that reaches the client, each time."""
    bad = {Verdict.FAILED, Verdict.CUT} if name == OWN else {Verdict.FAILED}
    failed = [each for each in results if each.verdict in bad and each.number not in KNOWN.get(name, ())]
    counts = Counter(each.verdict for each in results)
    found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    words = "".join(f"; {each.number}: {each.words or each.verdict}" for each in failed[:5])
    return Bar(_words_of(name), _limit_of(name), f"{len(results)} played: {found}{words}", not failed)


def _words_of(name: str) -> str:
    return f"cases of RFC 6455 (Autobahn 1.* to 10.*) under {_under(name)}"


def _under(name: str) -> str:
    return name if name == OWN else f"uvicorn --ws {name}"


def _limit_of(name: str) -> str:
    known = KNOWN.get(name)
    return f"0 failed but {', '.join(sorted(known))}, which uvicorn fails" if known else "0 failed"
