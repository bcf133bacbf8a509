"""Questions to all nodes while the store hangs, or the bus is away."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.local_socket import LocalFailed, ask
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.operating.conftest import Operator
from tests.support.client import App
from tests.support.valkey import running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Lock a SQLite file, as a backup program may."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_a_store_that_hangs_keeps_no_operator_from_acting(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    async with apps[0].connect("ida") as one, apps[1].connect("ida") as two:
        with locked(nodes[0].settings.store_url.removeprefix("sqlite:///")):
            assert await operator.succeed("announce", "the store hangs") == "2 connections got it\n"
            done = await operator.run("kick", "ida", "--sessions")
            assert done.out == "closed 2 connections of ida, and ended 0 sessions\n"
            assert done.status == 1
            assert done.err.startswith("gateway: no session was ended: ")
            for client in (one, two):
                assert (await client.until(type="announcement"))["data"]["text"] == "the store hangs"
                await client.until(type="bye")
            done = await operator.run("status")
            assert done.out.count("not ready") == 2
            assert "store  down" in done.out
    assert "closed 0 connections of ida, and ended 2 sessions" in await operator.succeed("kick", "ida", "--sessions")


async def test_without_the_bus_each_process_of_the_folder_is_asked_once(tmp_path: Path) -> None:
    with running_valkey() as valkey:
        settings = settings_for_tests(tmp_path, bus_url=valkey.url)
        with running_gateway(settings) as one, running_gateway(settings) as two:
            operator = Operator(tmp_path)
            async with App(one) as here, App(two) as there:
                async with here.connect("jana") as first, there.connect("jana") as second:
                    valkey.freeze()
                    try:
                        await until(lambda: not one.state.bus.is_up and not two.state.bus.is_up)
                        assert await operator.succeed("announce", "no bus") == "2 connections got it\n"
                        for client in (first, second):
                            await client.expect("announcement", text="no bus")
                            await client.expect_nothing()
                        assert await operator.succeed("kick", "jana") == "closed 2 connections of jana\n"
                        assert "bus    down" in (await operator.run("status")).out
                    finally:
                        valkey.thaw()


async def test_an_answer_that_lacks_a_number_hides_no_act_from_the_audit_log(
    operator: Operator, nodes: list[Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of another version may answer so, or a program that writes to the bus."""

    async def answer(*_: object) -> dict[str, Any]:
        return {"closed": "many"}

    path = nodes[0].state.local_socket.path
    assert path is not None
    for kind in ("kick", "announce", "drain", "log-level"):
        monkeypatch.setitem(nodes[0].state.node_calls._handlers, f"operator.{kind}", answer)
    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("kick", {"user": "nina"}),
        ("announce", {"text": "nothing"}),
        ("drain", {"nodes": []}),
        ("log-level", {"level": "reset"}),
    )
    for name, data in asked:
        await ask(path, name, {**data, "only_here": True}, timeout=5)
    assert (await operator.audited("kicked"))[-1]["closed"] == 0
    assert (await operator.audited("announced"))[-1]["reached"] == 0


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [
        (["kick", "--address", "192.0.2.1"], "closed, ended, known"),
        (["announce", "hello"], "reached"),
        (["drain", "--undo"], "concerned, draining, changed"),
        (["log-level", "reset"], "is_set"),
        (["status"], "pid, uptime_seconds, draining, "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_a_node_of_another_version_that_answers_otherwise_is_named(
    apps: list[App],
    operator: Operator,
    nodes: list[Gateway],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    lacking: str,
) -> None:
    async def answer(*_: object) -> dict[str, Any]:
        return {"version": "9.0", "host": "far"}

    assert apps  # the nodes know each other
    other = nodes[1].state.node_calls
    monkeypatch.setitem(other._handlers, f"operator.{arguments[0]}", answer)
    done = await operator.run(*arguments)
    assert done.status == 1
    shown = done.out + done.err  # the table of the status has it among its lines
    assert f"node {other.own_id[:8]} is of another version: its answer lacks {lacking}" in shown


@pytest.mark.parametrize("name", ["status", "kick", "announce", "drain", "log-level", "restart", "tail"])
async def test_hostile_data_is_refused_in_words(nodes: list[Gateway], name: str) -> None:
    path = nodes[0].state.local_socket.path
    assert path is not None
    wrong: tuple[dict[str, Any], ...] = (
        {"unknown": 1},
        {"by": "root"},
        {"user": {"a": 1}, "level": [], "text": None, "nodes": "all"},
        {"user": "x" * 60_000},
        {"seconds": 1e300, "level": "info"},
        {"over": -1, "nodes": []},
        {"only_here": "yes", "user": 7, "text": "", "level": 3, "nodes": 4},
    )
    for data in wrong:
        if data == {"by": "root"} and name in ("status", "drain"):
            continue  # it is no wrong question, and the process says by itself which user asks
        with pytest.raises(LocalFailed) as refused:
            async with asyncio.timeout(20):
                await ask(path, name, data, timeout=20)
        assert "its log says why" not in str(refused.value)
