"""One scrape shows all workers of a `gateway serve --workers`, whichever of them gets it."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core import worker_place
from gateway.core.local_socket import LocalSocket
from gateway.core.worker_place import Place
from gateway.metrics.workers import ANSWER_SECONDS, Page, joined
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.cli.command import Served, serving
from tests.support.client import NO_AUTHORITIES, App
from tests.support.valkey import running_valkey
from tests.support.waiting import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    """Read a text as Prometheus does: each series has one value."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


async def scraped(served: Served) -> Samples:
    """Return what a new connection gets, since a worker keeps an old one."""
    async with httpx2.AsyncClient(verify=NO_AUTHORITIES, timeout=20) as http:
        return samples_of((await http.get(f"{served.url}/metrics")).text)


def of_each(samples: Samples, name: str) -> dict[str, float]:
    """Return a metric by worker."""
    return {dict(labels)["worker"]: value for (found, labels), value in samples.items() if found == name}


@pytest.mark.server
async def test_each_scrape_has_all_workers_also_while_one_hangs_dies_and_is_replaced(tmp_path: Path) -> None:
    with running_valkey() as valkey, serving(tmp_path, "--workers", "2", GATEWAY_BUS_URL=valkey.url) as served:
        pids = [int(pid) for pid in re.findall(r"\d+", served.output.expect("workers serve: ").rpartition(": ")[2])]
        await until(lambda: _know_each_other(served), within=90)
        async with App(cast(Gateway, served)) as app:
            token = await app.token("alice")
            async with app.connect_with(token), app.connect_with(token), app.connect_with(token):
                now = await scraped(served)
                assert of_each(now, "gateway_worker_up") == {"0": 1, "1": 1}
                assert sum(of_each(now, "gateway_connections").values()) == 3
                others = (await scraped(served)).keys() ^ now.keys()
                requests = {f"gateway_request_seconds_{part}" for part in ("bucket", "count", "sum")}
                # Work in the background has a line once it was done for the first time.
                new = {"gateway_requests_total", "gateway_work_age_seconds"} | requests
                assert {name for name, _ in others} <= new
        await until(lambda: _has_lag(served), within=90)
        os.kill(pids[1], signal.SIGSTOP)
        try:
            began = time.monotonic()
            now = await scraped(served)
            assert time.monotonic() - began < ANSWER_SECONDS + 10
            assert of_each(now, "gateway_worker_up") == {"0": 1, "1": 0}
            assert of_each(now, "gateway_connections").keys() == {"0"}
        finally:
            os.kill(pids[1], signal.SIGCONT)
        await until(lambda: _are_up(served), within=90)
        began_at = of_each(await scraped(served), "gateway_process_start_time_seconds")
        os.kill(pids[1], signal.SIGKILL)
        served.output.expect(f"worker {pids[1]} ended with -9; a new one replaces it")
        await until(lambda: _are_up(served), within=90)
        now = await scraped(served)
        started = of_each(now, "gateway_process_start_time_seconds")
        assert started["0"] == began_at["0"]
        assert started["1"] > began_at["1"]
        assert of_each(now, "gateway_connections_opened_total")["1"] == 0


async def _know_each_other(served: Served) -> bool:
    return of_each(await scraped(served), "gateway_nodes") == {"0": 2, "1": 2}


async def _are_up(served: Served) -> bool:
    now = await scraped(served)
    return of_each(now, "gateway_worker_up") == {"0": 1, "1": 1} and len(of_each(now, "gateway_connections")) == 2


async def _has_lag(served: Served) -> bool:
    """Return whether both have measured the bus, by the messages with which nodes say that they live."""
    now = await scraped(served)
    times = of_each(now, "gateway_bus_lag_seconds_sum")
    return all(
        count > 0 and times[worker] > 0 for worker, count in of_each(now, "gateway_bus_lag_seconds_count").items()
    )


Answer = Callable[[dict[str, Any]], dict[str, Any]]


@asynccontextmanager
async def another_worker(data_dir: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer questions about metrics in a gateway's data folder."""

    async def answered(asked: dict[str, Any]) -> dict[str, Any]:
        return answer(asked)

    other = LocalSocket()
    other.serve("metrics", answered)
    await other.listen(data_dir)
    try:
        yield
    finally:
        await other.close()


ONE = "# HELP gateway_connections Connections.\n# TYPE gateway_connections gauge\ngateway_connections 70.0\n"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"number": 1, "taken_at": 1e12, "text": ONE}, {"0": 0, "1": 70}),
        ({"number": 0, "taken_at": 1e12, "text": ONE}, {"0": 70}),  # the successor of one that drains
        ({"number": 0, "taken_at": 1.0, "text": ONE}, {"0": 0}),
        ({"number": 7, "taken_at": 1e12, "text": ONE}, {"0": 0}),
        ({"number": "1", "taken_at": 1e12, "text": ONE}, {"0": 0}),
        ({"number": 1, "taken_at": 1e12}, {"0": 0}),
        ({}, {"0": 0}),
    ],
)
async def test_what_another_worker_answers_counts_once_and_only_if_it_is_right(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], shown: dict[str, float]
) -> None:
    monkeypatch.setattr(worker_place, "mine", Place("us", 0, 2, time.time()))
    asked: list[dict[str, Any]] = []

    def note(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return answer

    async with App(own_gateway()) as app, another_worker(app.gateway.settings.data_dir, note):
        now = samples_of((await app.http.get("/metrics")).text)
    assert asked == [{"of": "us"}]
    assert of_each(now, "gateway_connections") == shown
    assert of_each(now, "gateway_worker_up") == {"0": 1, "1": float("1" in shown)}


async def test_a_worker_that_never_answers_costs_its_own_lines_and_a_limited_time(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_place, "mine", Place("us", 1, 2, time.time()))
    monkeypatch.setattr("gateway.metrics.workers.ANSWER_SECONDS", 0.2)

    async def hang(_: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    other = LocalSocket()
    other.serve("metrics", hang)
    async with App(own_gateway()) as app:
        await other.listen(app.gateway.settings.data_dir)
        try:
            now = samples_of((await app.http.get("/metrics")).text)
        finally:
            await other.close()
    assert of_each(now, "gateway_worker_up") == {"0": 0, "1": 1}
    assert of_each(now, "gateway_connections") == {"1": 0}


async def test_a_gateway_in_one_process_has_no_label_of_a_worker(app: App) -> None:
    text = (await app.http.get("/metrics")).text
    assert "worker=" not in text
    assert "gateway_worker_up" not in text


def test_labels_with_any_characters_stay_as_they_are() -> None:
    odd = r'x_total{route="a } b, \"c\" {",kind=""} 1.0'
    text = f"# HELP x_total What {{this}} is.\n# TYPE x_total counter\n{odd}\nx_total 2.0\n"
    one = joined({0: Page(0, 0.0, text), 2: Page(2, 0.0, text)}, 3)
    values = samples_of(one)
    assert values[("x_total", (("kind", ""), ("route", 'a } b, "c" {'), ("worker", "2")))] == 1
    assert values[("x_total", (("worker", "0"),))] == 2
    assert of_each(values, "gateway_worker_up") == {"0": 1, "1": 0, "2": 1}
    assert one.count("# TYPE x_total counter") == 1


def test_a_label_with_a_separator_of_lines_takes_no_other_line_with_it() -> None:
    odd = 'x_total{route="a\u2028b\x85c"} 1.0'
    one = joined({0: Page(0, 0.0, f"# HELP x_total X.\n# TYPE x_total counter\n{odd}\n")}, 1)
    assert 'x_total{worker="0",route="a\u2028b\x85c"} 1.0\n' in one
