"""Runs schemathesis as each kind of client that there is, each time against a gateway of its own."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.rig import temporary_folder
from proofs.bar import Bar, Report, Scale
from proofs.http import log_in
from proofs.http.clients import Client, chosen, clients_of
from proofs.http.configurations import RANDOM, STRICT, configuration
from proofs.logs import wrong_lines
from proofs.server import Server

SECONDS = {STRICT: 1800, RANDOM: 600}
"""How long one run may take. A strict run ends by itself, and one that does not has failed. A random one goes on."""
GRACE_SECONDS = 120

PHASES = {
    Scale.FULL: (("examples,coverage", STRICT), ("fuzzing,stateful", RANDOM)),
    Scale.SHORT: (("examples,coverage", STRICT),),
}
"""What schemathesis does, each with its configuration."""

ENDS = {STRICT: {"completed"}, RANDOM: {"completed", "max_time"}}
"""Why a run may end."""

AT_ONCE = 2

SETTINGS: dict[str, dict[str, str]] = {
    "development": {},
    "production": {
        "GATEWAY_ENVIRONMENT": "production",
        "GATEWAY_PASSWORD_ROUNDS": "10",
        "GATEWAY_METRICS_TOKEN": "only-the-monitor-knows-this-token",
        "GATEWAY_ALLOW_UVICORN_PROTOCOL": "true",
    },
}

DOCUMENT, STORE = "openapi.json", "gateway.db"


@dataclass(frozen=True)
class Task:
    """What one run is to do."""

    setting: str
    client: Client
    phases: str
    kind: str
    operations: frozenset[str]
    """The operations of the description that the client's paths select."""

    @property
    def name(self) -> str:
        """Return it in words."""
        return f"{self.setting}: {self.phases.replace(',', ' and ')}"

    @property
    def folder(self) -> str:
        """Return the name of its folder."""
        return re.sub("[^a-z]+", "-", f"{self.phases} {self.setting} {self.client.name}")


@dataclass(frozen=True)
class Run:
    """What one run of schemathesis has found."""

    task: Task
    tested: int
    cases: int
    failures: tuple[str, ...]
    is_known: bool = False
    """Whether the gateway still took the client's credential at the end."""


async def prove_http(scale: Scale, report: Report) -> list[Bar]:
    """Run all clients under both settings. The short form takes the larger part of them in development alone."""
    with temporary_folder() as folder:
        clients = await clients_of(f"sqlite:///{folder / STORE}")
        document = await _document(folder)
        (folder / DOCUMENT).write_text(document, encoding="utf-8")
        every = operations_of(document)
        tasks = [
            Task(setting, client, phases, kind, operations_of(document, client.paths))
            for setting in SETTINGS
            for client in chosen(scale, setting, clients)
            for phases, kind in PHASES[scale]
        ]
        places = asyncio.Semaphore(AT_ONCE)
        runs = await asyncio.gather(*(_run(folder, task, places, report) for task in tasks))
        logs = {
            setting: [folder / task.folder / "gateway.log" for task in tasks if task.setting == setting]
            for setting in SETTINGS
        }
        faults = [wrong_lines(f"lines of the log that report a fault, {name}", *each) for name, each in logs.items()]
    return [*bars_of(runs), known_bar(runs), whole_bar(runs, every), *faults]


def operations_of(document: str, paths: str = "") -> frozenset[str]:
    """Return the operations of a description, as method and path. `paths` is a pattern that selects some."""
    described: dict[str, dict[str, Any]] = json.loads(document)["paths"]
    return frozenset(
        f"{method.upper()} {path}"
        for path, methods in described.items()
        for method in methods
        if re.search(paths, path)
    )


async def _document(folder: Path) -> str:
    server = _server(folder, "description", "development")
    async with server.running(), httpx2.AsyncClient() as http:
        return (await http.get(f"{_url(server)}/openapi.json")).text


def _server(folder: Path, name: str, setting: str) -> Server:
    """Return a gateway with a copy of the store, so that no other run changes what this one meets."""
    own = folder / name
    own.mkdir()
    shutil.copy(folder / STORE, own)
    return Server(own, f"sqlite:///{own / STORE}", **SETTINGS[setting])


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


async def _run(folder: Path, task: Task, places: asyncio.Semaphore, report: Report) -> Run:
    async with places:
        server = _server(folder, task.folder, task.setting)
        async with server.running():
            output, status = await _schemathesis(server, task)
            is_known = await _is_known(server, task.client)
        run = run_of(task, server.folder / "found.json", output, status, is_known=is_known)
    report(f"{task.name}, {task.client.name}: {run.cases:,} requests, {len(run.failures)} failures")
    for failure in run.failures[:3]:
        report(failure)
    return run


async def _schemathesis(server: Server, task: Task) -> tuple[str, int | None]:
    """Run schemathesis, and return its output and its exit status."""
    client, seconds = task.client, SECONDS[task.kind]
    (server.folder / "schemathesis.toml").write_text(configuration(task.kind, client), encoding="utf-8")
    bearer = () if client.bearer is None else ("-H", f"Authorization: Bearer {client.bearer}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", f"../{DOCUMENT}"),
        *("--url", _url(server), "--phases", task.phases, "--seed", "1", "--no-color"),
        *("--include-path-regex", client.paths, "--generation-allow-x00", "false"),
        *("--max-time", str(seconds), "--report", "json", "--report-json-path", "found.json", *bearer),
        cwd=server.folder,
        env=_environment(server, client),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = b"it did not end in time"
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                output, _ = await process.communicate()
    finally:
        status = process.returncode
        if status is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace"), status


def _environment(server: Server, client: Client) -> dict[str, str]:
    if client.bearer is not None or client.form is None:
        return dict(os.environ)
    return os.environ | {
        "SCHEMATHESIS_HOOKS": log_in.__file__,
        log_in.URL: _url(server),
        log_in.FORM: json.dumps(dict(client.form)),
    }


async def _is_known(server: Server, client: Client) -> bool:
    """Return whether the gateway takes the credential: by a log-in with it, or as the token of a user."""
    async with httpx2.AsyncClient(base_url=_url(server)) as http:
        if client.form is not None:
            answer = await http.post("/token", data=dict(client.form))
        else:
            answer = await http.get("/users/me", headers={"Authorization": f"Bearer {client.bearer}"})
    return bool(answer.status_code == 200)


def run_of(task: Task, file: Path, output: str, status: int | None, *, is_known: bool = False) -> Run:
    """Return what a run has found.

    One that wrote no outcome, ended with an error or too early, or left an operation of the client out, has failed.
    """
    if not file.exists():
        return Run(task, 0, 0, (f"{task.client.name}: no outcome: {output[-1000:]}",), is_known)
    outcome = json.loads(file.read_text(encoding="utf-8"))
    failures = [json.dumps(each)[:1500] for each in (*outcome["failures"], *outcome["errors"])]
    if status and not failures:
        failures.append(f"{task.client.name}: ended with {status}: {output[-1000:]}")
    if outcome["stop_reason"] not in ENDS[task.kind]:
        failures.append(f"{task.client.name}: the run ended before its end: {outcome['stop_reason']}")
    operations = outcome["operations"] or {"selected": 0, "tested": 0}
    selected, tested, due = operations["selected"], operations["tested"], len(task.operations)
    # A random run may spend its time on some operations.
    if selected != due or (task.kind == STRICT and tested != due):
        failures.append(f"{task.client.name}: selected {selected} of {due} operations, and tested {tested}")
    return Run(task, tested, outcome["test_cases"]["generated"], tuple(failures), is_known)


def bars_of(runs: Iterable[Run]) -> list[Bar]:
    """Return a bar for each run."""
    return [
        Bar(
            f"answers to {run.task.client.name} ({run.task.name}) that are server errors or not described",
            "0",
            f"{len(run.failures)} of {run.cases:,} requests to {run.tested} operations",
            not run.failures and run.cases > 0,
        )
        for run in runs
    ]


def known_bar(runs: Sequence[Run]) -> Bar:
    """Return the bar of the credentials: one that does not hold at the end may have been refused all the time."""
    good = [run for run in runs if run.task.client.is_known]
    lost = "".join(f"; not {run.task.client.name} ({run.task.name})" for run in good if not run.is_known)
    held = sum(run.is_known for run in good)
    return Bar(
        "clients with a good credential that are still known after their run",
        "all",
        f"{held} of {len(good)}{lost}",
        bool(good) and not lost,
    )


def whole_bar(runs: Iterable[Run], every: frozenset[str]) -> Bar:
    """Return the bar of the operations that clients with a good credential have tested, each of them in whole runs."""
    reached: set[str] = set()
    for run in runs:
        if run.task.client.is_known and run.tested == len(run.task.operations):
            reached |= run.task.operations
    left = "".join(f"; not {operation}" for operation in sorted(every - reached)[:5])
    return Bar(
        "operations of the description that a client with a good credential has tested",
        f"{len(every)}",
        f"{len(reached)}{left}",
        bool(every) and reached == every,
    )
