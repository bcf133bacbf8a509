"""Draws the dashboard of deploy/monitoring: `python -m benchmarks.dashboard docs/monitoring.svg`.

A real Prometheus reads a gateway with two workers under load: clients talk, type, come and go, and some have wrong
passwords and tokens. Grafana is not needed. The program asks Prometheus what each panel asks, and draws each answer at
the panel's place. Panels without any answer are left out. So are rows with answers for fewer than half of their panels:
the run has no services and no hooks.
"""

import asyncio
import json
import math
import random
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.panels import Panel, Series, draw
from benchmarks.rig import Server, free_port, temporary_folder
from tests.support.valkey import running_valkey

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
SCRAPE_SECONDS = 2
RATE = "20s"
"""What stands for Grafana's `$__rate_interval`."""
POINTS = 45
"""Points of a line."""
WAIT_SECONDS = 60
PASSWORD = "a-password-for-a-picture"  # noqa: S105 - of a gateway that ends with the run
ROOMS = ("lobby", "news", "help")

_CHANCE = random.Random(18)  # noqa: S311 - no secret


class Prometheus:
    """A Prometheus that answers on this machine alone."""

    def __init__(self, port: int) -> None:
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS)

    def is_ready(self) -> bool:
        """Return whether it answers."""
        with suppress(httpx2.HTTPError):
            return self._http.get("/-/ready").status_code == httpx2.codes.OK
        return False

    def series(self, expression: str, legend: str, start: float, end: float) -> list[Series]:
        """Return the lines of an expression, with the names of Grafana's legend."""
        asked: dict[str, str | float] = {
            "query": expression,
            "start": start,
            "end": end,
            "step": (end - start) / POINTS,
        }
        answer = self._http.get("/api/v1/query_range", params=asked).json()
        if answer["status"] != "success":
            raise RuntimeError(f"{expression}: {answer['error']}")
        return [(_named(legend, each["metric"]), _points(each["values"])) for each in answer["data"]["result"]]


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def _points(values: Sequence[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(at, float(value)) for at, value in values if math.isfinite(float(value))]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110 - another process reports nothing
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running_prometheus(folder: Path, port_of_gateway: int) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the alert rules."""
    program = shutil.which("prometheus")
    if program is None:
        raise typer.BadParameter("expected `prometheus` in the path; install Debian's package of this name")
    port, config = free_port(), folder / "prometheus.yml"
    target = {"targets": [f"127.0.0.1:{port_of_gateway}"], "labels": {"instance": "gateway-1"}}
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
                "rule_files": [str(MONITORING / "alerts.yml")],
                "scrape_configs": [{"job_name": "json-gateway", "static_configs": [target]}],
            }
        )
    )
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'series'}", "--log.level=error"]
    process = await asyncio.to_thread(subprocess.Popen, [program, *options, f"--web.listen-address=127.0.0.1:{port}"])
    try:
        prometheus = Prometheus(port)
        await _until(prometheus.is_ready)
        yield prometheus
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, WAIT_SECONDS)


@dataclass(frozen=True)
class Crowd:
    """Clients of all kinds."""

    server: Server
    http: httpx2.AsyncClient

    async def register(self, name: str) -> None:
        """Add a user."""
        await self.http.post("/users", json={"username": name, "password": PASSWORD})

    async def live(self, names: Sequence[str]) -> None:
        """Do all that the panels show, until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._talk_again_and_again(name))
            group.create_task(self._guess_passwords(names[0]))
            group.create_task(self._try_tokens())
            group.create_task(self._call(names[1]))

    async def _token(self, name: str, password: str = PASSWORD) -> str:
        answer = await self.http.post("/token", data={"username": name, "password": password})
        return str(answer.json().get("access_token", ""))

    async def _log_in(self, name: str) -> str:
        while not (token := await self._token(name)):  # noqa: ASYNC110 - only some log-ins at a time are taken
            await asyncio.sleep(_CHANCE.uniform(0.5, 2))
        return token

    async def _talk_again_and_again(self, name: str) -> None:
        token = await self._log_in(name)
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(self.server.url(token), open_timeout=WAIT_SECONDS) as ws:
                    await self._talk(ws, _CHANCE.uniform(10, 60))

    async def _talk(self, ws: ClientConnection, seconds: float) -> None:
        reading = asyncio.create_task(self._read(ws))
        until = time.monotonic() + seconds
        for room in ROOMS:
            await ws.send(json.dumps({"type": "room.join", "id": 1, "data": {"room": room}}))
        while time.monotonic() < until and not reading.done():
            kind = _CHANCE.choices(("chat.send", "chat.typing", "ping", "chat.history", "no.such"), (6, 4, 3, 2, 0.2))[
                0
            ]
            data = {"room": _CHANCE.choice(ROOMS)} if kind != "ping" else {}
            if kind == "chat.send":
                data["text"] = "hello from a client of the picture"
            await ws.send(json.dumps({"type": kind, "id": 2, "data": data}))
            await asyncio.sleep(_CHANCE.expovariate(1.5))
        reading.cancel()

    async def _read(self, ws: ClientConnection) -> None:
        with suppress(WebSocketException):
            async for _ in ws:
                pass

    async def _guess_passwords(self, name: str) -> None:
        while True:
            await self._token(name, "not this one")
            await asyncio.sleep(_CHANCE.uniform(0.5, 4))

    async def _try_tokens(self) -> None:
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(self.server.url("x.y.z")) as ws:
                    await self._read(ws)
            await asyncio.sleep(_CHANCE.uniform(1, 5))

    async def _call(self, name: str) -> None:
        headers = {"Authorization": f"Bearer {await self._log_in(name)}"}
        while True:
            await self.http.post("/call/room.list", json={}, headers=headers)
            await asyncio.sleep(_CHANCE.expovariate(1))


async def observe(seconds: float, clients: int) -> list[tuple[Panel, list[Series]]]:
    """Return each panel of the dashboard with its lines, after so many seconds of load."""
    with temporary_folder() as folder, running_valkey() as valkey:
        server = Server(folder, None, GATEWAY_BUS_URL=valkey.url, GATEWAY_REGISTRATION="open")
        server.arguments += ["--workers", "2"]
        async with server.running(), _crowd(server) as crowd, running_prometheus(folder, server.port) as prometheus:
            names = [f"person-{number}" for number in range(clients)]
            for name in names:
                await crowd.register(name)
            began = time.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await crowd.live(names)
            return [(panel, lines_of(panel, prometheus, began + 20, time.time())) for panel in dashboard()]


@asynccontextmanager
async def _crowd(server: Server) -> AsyncIterator[Crowd]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=WAIT_SECONDS) as http:
        yield Crowd(server, http)


def dashboard() -> list[Panel]:
    """Return the panels in their order."""
    panels: list[Panel] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return panels


def lines_of(panel: Panel, prometheus: Prometheus, start: float, end: float) -> list[Series]:
    """Return what Prometheus answers to the questions of a panel."""
    found = []
    for target in panel.get("targets", ()):
        expression = target["expr"]
        for name, value in (("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", RATE)):
            expression = expression.replace(name, value)
        found += prometheus.series(expression, target["legendFormat"], start, end)
    return [(name, points) for name, points in found if points]


def main(
    file: Annotated[Path, typer.Argument(help="The picture to write.")],
    seconds: Annotated[float, typer.Option(min=40, max=1800, help="How long the load lasts.")] = 180,
    clients: Annotated[int, typer.Option(min=2, max=500, help="How many clients talk.")] = 30,
) -> None:
    """Draw the dashboard with the figures of a gateway under load."""
    found = asyncio.run(observe(seconds, clients))
    note = (
        f"drawn by benchmarks.dashboard from the answers of Prometheus: 2 workers, {clients} clients, {seconds:.0f} s"
    )
    file.write_text(draw(found, note), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
