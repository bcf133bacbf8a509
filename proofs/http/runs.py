"""Runs schemathesis against two gateways, as each kind of client that there is."""

import asyncio
import json
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.rig import Person, Server, database_for, populate, temporary_folder
from proofs.bar import Bar, Report, Scale
from proofs.keys import add_key
from proofs.logs import wrong_lines
from schemas.services import SERVICE_SCOPES

SECONDS = {Scale.FULL: 600, Scale.SHORT: 45}
"""How long one run may take. schemathesis ends by itself then."""
GRACE_SECONDS = 120

STRICT, RANDOM = "strict.toml", "random.toml"
PHASES = {
    Scale.FULL: (("examples,coverage", STRICT), ("fuzzing,stateful", RANDOM)),
    Scale.SHORT: (("examples,coverage", STRICT),),
}
"""What schemathesis does, each with its configuration."""

AT_ONCE = 2

ALL, OF_SERVICES, OF_USERS, OF_MESSAGES = "^/", "^/(api|hook)/", "^/(?!api|hook|call)", "^/call/"

PRODUCTION = {
    "GATEWAY_ENVIRONMENT": "production",
    "GATEWAY_PASSWORD_ROUNDS": "10",
    "GATEWAY_METRICS_TOKEN": "only-the-monitor-knows-this-token",
    "GATEWAY_ALLOW_UVICORN_PROTOCOL": "true",
}

# A schema cannot say which rooms and positions there are, that names differ, and that no string has U+0000.
_CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = [{statuses}]

[[operations]]
include-path = "/call/room.resume"
checks.positive_data_acceptance.expected-statuses = [{statuses}, "400", "422"]
"""
_STATUSES = '"2xx", "401", "403", "404", "409", "410", "415", "503"'
CONFIGURATIONS = {
    STRICT: _CONFIGURATION.format(statuses=_STATUSES),
    # Random values find rules that are in words only, such as that a piece may be empty with `done` alone.
    RANDOM: _CONFIGURATION.format(statuses=f'{_STATUSES}, "400", "422"'),
}


@dataclass(frozen=True)
class Client:
    """A kind of client: its bearer, and the paths that it is about."""

    name: str
    bearer: str | None
    paths: str


@dataclass(frozen=True)
class Run:
    """What one run of schemathesis has found."""

    client: str
    setting: str
    operations: int
    cases: int
    failures: tuple[str, ...]


async def prove_http(scale: Scale, report: Report) -> list[Bar]:
    """Run all clients against both gateways. The short form takes the larger part of them in development alone."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        servers = {}
        clients: dict[str, list[Client]] = {}
        for setting, more in (("development", {}), ("production", PRODUCTION)):
            own = folder / setting
            own.mkdir()
            url = f"sqlite:///{own / 'gateway.db'}"
            clients[setting] = await _clients(url, scale)
            servers[setting] = server = Server(own, url, **more)
            await stack.enter_async_context(server.running())
        document = await _document(servers["development"])
        (folder / "openapi.json").write_text(document, encoding="utf-8")
        for name, text in CONFIGURATIONS.items():
            (folder / name).write_text(text, encoding="utf-8")
        places = asyncio.Semaphore(AT_ONCE)
        chosen = [
            (setting, client, phases)
            for setting in servers
            for client in _chosen(scale, setting, clients[setting])
            for phases in PHASES[scale]
        ]
        runs = await asyncio.gather(
            *(
                _run(folder, setting, servers[setting], client, phases, SECONDS[scale], places, report)
                for setting, client, phases in chosen
            )
        )
        faults = [
            wrong_lines(f"lines of the log that report a fault, {name}", each.log) for name, each in servers.items()
        ]
    return [*bars_of(runs), *faults]


async def _clients(url: str, scale: Scale) -> list[Client]:
    """Return the clients of a gateway, which are made in its store."""
    alice, bob = Person("alice"), Person("bob")
    database = database_for(url)
    await populate(database, [alice, bob], {"lobby": [alice, bob]})
    everything = await add_key(database, "everything", *sorted(SERVICE_SCOPES))
    each = {scope: await add_key(database, scope.replace(":", "-"), scope) for scope in sorted(SERVICE_SCOPES)}
    await database.close()
    return [
        Client("a user, on messages", alice.token, OF_MESSAGES),
        Client("a user, on the rest", bob.token, OF_USERS),
        Client("a service with all scopes", everything, OF_SERVICES),
        Client("anonymous", None, ALL),
        *(Client(f"a service with {scope}", key, OF_SERVICES) for scope, key in each.items()),
        Client("a service, on what is for users", everything, OF_USERS),
        Client("a user, on what is for services", alice.token, OF_SERVICES),
        Client("a wrong token", "a.b.c", ALL),
    ]


def _chosen(scale: Scale, setting: str, clients: list[Client]) -> list[Client]:
    if scale is Scale.FULL:
        return clients
    return clients[:4] if setting == "development" else [clients[3]]


async def _document(server: Server) -> str:
    async with httpx2.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{server.port}/openapi.json")).text


async def _run(
    folder: Path,
    setting: str,
    server: Server,
    client: Client,
    what: tuple[str, str],
    seconds: int,
    places: asyncio.Semaphore,
    report: Report,
) -> Run:
    phases, configuration = what
    name = f"{phases}-{setting}-{client.name.replace(' ', '-').replace(':', '-').replace(',', '')}"
    found = folder / f"{name}.json"
    bearer = () if client.bearer is None else ("-H", f"Authorization: Bearer {client.bearer}")
    async with places:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", configuration, "run", "openapi.json"),
            *("--url", f"http://127.0.0.1:{server.port}", "--phases", phases, "--seed", "1", "--no-color"),
            *("--include-path-regex", client.paths, "--generation-allow-x00", "false"),
            *("--max-time", str(seconds), "--report", "json", "--report-json-path", str(found), *bearer),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            output = b"it did not end in time"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    run = run_of(
        client.name,
        f"{setting}: {phases.replace(',', ' and ')}",
        found,
        output.decode(errors="replace"),
        process.returncode,
    )
    report(f"{run.setting}, {client.name}: {run.cases:,} requests, {len(run.failures)} failures")
    for failure in run.failures[:3]:
        report(failure)
    return run


def run_of(client: str, setting: str, file: Path, output: str, status: int | None) -> Run:
    """Return what a run has found. One that wrote no outcome, or ended with an error of its own, has failed."""
    if not file.exists():
        return Run(client, setting, 0, 0, (f"{client}: no outcome: {output[-1000:]}",))
    outcome = json.loads(file.read_text(encoding="utf-8"))
    failures = [json.dumps(each)[:1500] for each in (*outcome["failures"], *outcome["errors"])]
    if status and not failures:
        failures.append(f"{client}: ended with {status}: {output[-1000:]}")
    cases: dict[str, Any] = outcome["test_cases"]
    return Run(client, setting, outcome["operations"]["tested"], cases["generated"], tuple(failures))


def bars_of(runs: Iterable[Run]) -> list[Bar]:
    """Return a bar for each run, and one for the operations that some client has reached."""
    return [
        Bar(
            f"answers to {run.client} ({run.setting}) that are server errors or not described",
            "0",
            f"{len(run.failures)} of {run.cases:,} requests to {run.operations} operations",
            not run.failures and run.cases > 0,
        )
        for run in runs
    ]
