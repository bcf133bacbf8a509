"""`gateway drain`: a node sends its clients to the others."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.core.local_socket import Data, LocalSocket
from gateway.operating import all_nodes
from gateway.testing import Gateway
from tests.gateway.operating.conftest import Operator
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
async def undone(nodes: list[Gateway], apps: list[App]) -> AsyncIterator[None]:
    """Leave no node that takes no newcomers."""
    yield
    for node in nodes:
        node.loop.call_soon_threadsafe(node.state.connections.take_newcomers)


async def test_clients_leave_one_after_the_other_and_the_node_takes_no_newcomer(
    apps: list[App], operator: Operator
) -> None:
    here, there = apps
    async with AsyncExitStack() as stack:
        leaving = [await stack.enter_async_context(here.connect(f"leaver{number}")) for number in range(10)]
        stayer = await stack.enter_async_context(there.connect("stayer"))
        ended: list[float] = []

        async def leave(number: int) -> None:
            bye = (await leaving[number].until(type="bye"))["data"]
            assert (bye["code"], bye["reason"], bye["reconnect"]) == (1012, "draining", "after_delay")
            assert 0 <= bye["after_ms"] < 1000
            ended.append(time.monotonic())

        left = asyncio.gather(*map(leave, range(10)))
        out = await operator.succeed("drain", "--over", "2s", "--wait", "30s")
        assert "drains: 10 connections to leave within 2 seconds" in out
        assert out.endswith("all connections have left\n")
        await left
        assert 1.5 < max(ended) - min(ended) < 10
        ready = await here.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "not_ready"
        assert ready.json()["reason"] == "this node drains: it takes no newcomers"
        assert (await here.http.get("/healthz")).status_code == 200
        async with here.socket(f"?token={await there.token('late')}") as refused:
            assert (await refused.until(type="bye"))["data"]["reason"] == "draining"
        assert (await there.http.get("/readyz")).json() == {
            "status": "ready",
            "store": "up",
            "bus": "up",
            "hooks": "up",
            "upstreams": "up",
        }
        await stayer.expect_nothing()
        states = {each["node"]: each["draining"] for each in await operator.status()}
        assert sorted(states.values()) == [False, True]
        assert "drains already: 0 connections" in await operator.succeed("drain")
        assert "takes newcomers again" in await operator.succeed("drain", "--undo")
        assert (await here.http.get("/readyz")).status_code == 200
        async with here.connect("leaver1"):
            pass
    assert len(await operator.audited("drained", 2)) == 2
    assert len(await operator.audited("drain_undone")) == 1


async def test_the_other_node_is_named_by_the_beginning_of_its_id(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    other = nodes[1].state.node_calls.own_id
    out = await operator.succeed("drain", "--node", other[:6])
    assert out == f"node {other[:8]} drains: 0 connections to leave within 1 second\n"
    assert (await apps[1].http.get("/readyz")).status_code == 503
    assert (await apps[0].http.get("/readyz")).status_code == 200
    done = await operator.run("drain", "--all")
    assert done.status == 0
    assert done.out.count("drains") == 2
    assert done.err == "gateway: no node is left that takes newcomers\n"
    assert (await operator.succeed("drain", "--all", "--undo")).count("takes newcomers again") == 2


async def test_an_undo_in_the_middle_keeps_the_clients_that_are_left(apps: list[App], operator: Operator) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(apps[0].connect(f"middle{number}")) for number in range(3)]
        await operator.succeed("drain", "--over", "1h")
        first = [asyncio.create_task(client.until(type="bye")) for client in clients]
        done, waiting = await asyncio.wait(first, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        await operator.succeed("drain", "--undo")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        left = [client for client, task in zip(clients, first, strict=True) if task not in done]
        for client in left:
            await client.expect_nothing()


async def test_a_second_drain_hurries_the_one_that_runs(apps: list[App], operator: Operator) -> None:
    async with AsyncExitStack() as stack:
        for number in range(3):
            await stack.enter_async_context(apps[0].connect(f"hurried{number}"))
        await operator.succeed("drain", "--over", "1h")
        assert re.search(
            r"drains already: \d connections? to leave within (1 hour|35\d\d seconds)", await operator.succeed("drain")
        )
        out = await operator.succeed("drain", "--over", "1s", "--wait", "30s")
        assert re.search(r"drains: \d connections? to leave within 1 second\nall connections have left\n$", out)
    lines = await operator.audited("drained", 3)
    assert [bool(line["nodes"]) for line in lines] == [True, False, True]


async def test_a_drain_in_a_storm_of_newcomers_sends_each_of_them_away(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    token = await apps[1].token("storm")
    is_over = asyncio.Event()
    admitted = 0

    async def come() -> None:
        nonlocal admitted
        while not is_over.is_set():
            async with apps[0].socket(f"?token={token}") as client:
                frame = await client.next()
                if frame["type"] == "welcome":
                    admitted += 1
                    frame = await client.until(type="bye")
                assert frame["data"]["reason"] == "draining", frame
                await asyncio.sleep(0.05)

    storm = [asyncio.create_task(come()) for _ in range(20)]
    await until(lambda: admitted == 20)
    await operator.succeed("drain", "--over", "1s", "--wait", "30s")
    is_over.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*storm)
    assert admitted == 20  # none was let in after the drain
    await until(lambda: not nodes[0].state.connections.count)


async def hang(*_: object) -> Data:
    """Answer no question, as a sick node does."""
    await asyncio.get_running_loop().create_future()
    return {}


def silence(monkeypatch: pytest.MonkeyPatch, node: Gateway, question: str) -> str:
    """Let a node answer a question no more, as a sick one does, and return its id."""
    monkeypatch.setattr(all_nodes, "SECONDS", 0.3)
    calls = node.state.node_calls
    monkeypatch.setitem(calls._handlers, f"operator.{question}", hang)
    return calls.own_id


async def test_a_draining_node_that_misses_an_answer_is_not_taken_for_empty(
    apps: list[App], operator: Operator, nodes: list[Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = silence(monkeypatch, nodes[1], "status")
    done = await operator.run("drain", "--all", "--wait", "2s")
    assert done.status == 1
    assert "all connections have left" not in done.out
    assert done.err.endswith(f"gateway: node {sick[:8]} does not answer, and may have connections\n")


async def test_a_node_that_does_not_answer_the_drain_itself_is_not_taken_for_empty(
    apps: list[App], operator: Operator, nodes: list[Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = silence(monkeypatch, nodes[1], "drain")
    done = await operator.run("drain", "--node", sick, "--wait", "5s")
    assert done.problem == f"node {sick[:8]} did not answer"


async def test_a_process_that_hangs_while_the_command_waits_is_not_taken_for_ended(tmp_path: Path) -> None:
    is_sick = asyncio.Event()

    async def identity(_: Data) -> Data:
        return await hang() if is_sick.is_set() else {"node": "a" * 32, "pid": 7, "host": "here"}

    async def drain(_: Data) -> Data:
        is_sick.set()
        answer = {"concerned": True, "draining": True, "changed": True, "connections": 3, "seconds": 1}
        return {"nodes": {"a" * 32: answer}, "missing": []}

    local_socket = LocalSocket()
    local_socket.serve("identity", identity)
    local_socket.serve("drain", drain)
    await local_socket.listen(tmp_path)
    try:
        done = await Operator(tmp_path).run("drain", "--wait", "3s")
    finally:
        await local_socket.close()
    assert (done.status, "all connections have left" in done.out) == (1, False)
    assert done.err.endswith("gateway: node aaaaaaaa does not answer, and may have connections\n")


WRONG = {
    ("--node", "zzz"): "--node: no node has an id like zzz; there are: ",
    ("--node", ""): "--node: no node has an id like ; there are: ",
    ("--all", "--node", "a"): "expected --node or --all, got both",
    ("--over", "soon"): "--over: expected a duration such as 30s, 10m or 2h, of at most 1 hour",
    ("--over", "2h"): "--over: expected a duration such as 30s, 10m or 2h, of at most 1 hour",
    ("--undo", "--wait", "1s"): "--undo: expected neither --over nor --wait with it",
}


async def test_a_wrong_drain_drains_nothing(apps: list[App], operator: Operator) -> None:
    for arguments, problem in WRONG.items():
        assert (await operator.run("drain", *arguments)).problem.startswith(problem)
    assert [each["draining"] for each in await operator.status()] == [False, False]
