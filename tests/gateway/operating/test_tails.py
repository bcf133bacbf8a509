"""`gateway tail`: what an operator sees as it happens, and what no operator sees."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.local_socket import MAX_PART_BYTES, LocalFailed, stream
from gateway.operating.tails import _Gathered
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.cli.command import Output, environment, started
from tests.gateway.operating.conftest import Operator
from tests.support.client import PASSWORD, App
from tests.support.waiting import until

pytestmark = pytest.mark.server


class Tail:
    """A running `gateway tail --json`, or one for a person."""

    def __init__(self, operator: Operator, *options: str) -> None:
        self.process = started(
            "tail",
            *options,
            env=environment(operator.data_dir, GATEWAY_DATA_DIR=str(operator.data_dir)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=operator.data_dir,
        )
        assert self.process.stdout is not None
        self.output = Output(self.process.stdout)

    async def expect(self, part: str) -> str:
        return await asyncio.to_thread(self.output.expect, part)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.text.splitlines()]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(20)
        self.output.close()
        return status


@asynccontextmanager
async def tailing(operator: Operator, nodes: list[Gateway], *options: str) -> AsyncIterator[Tail]:
    """Run a tail that listens on both nodes, and leave none behind."""
    tail = Tail(operator, *options)
    try:
        await until(lambda: all(node.state.taps.is_open for node in nodes))
        yield tail
    finally:
        assert await asyncio.to_thread(tail.end) == 0, tail.output.text
    await until(lambda: not any(node.state.taps.is_open for node in nodes))
    await operator.audited("tail_ended")


async def the_tail(operator: Operator) -> list[dict[str, Any]]:
    """Return what the audit log has of the begin and the end of the one tail of a test."""
    [begun] = await operator.audited("tail_began")
    [ended] = await operator.audited("tail_ended")
    return [begun, ended]


async def test_all_that_happens_on_all_nodes_is_shown_without_bodies(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    here, there = apps
    sent: dict[str, Any] = {"type": "chat.message", "user": "bruno", "room": "tailed", "reached": 1}
    expected: list[tuple[int, str, dict[str, Any]]] = [
        (0, "registered", {"user": "adele"}),
        (0, "log_in", {"user": "adele"}),
        (0, "log_in_failed", {"user": "adele", "reason": "wrong_password"}),
        (0, "open", {"user": "adele", "address": "127.0.0.1"}),
        (0, "in", {"type": "room.join", "room": "tailed", "user": "adele"}),
        (0, "join", {"user": "adele", "room": "tailed"}),
        (1, "join", {"user": "bruno", "room": "tailed"}),
        (1, "in", {"type": "chat.send", "room": "tailed", "user": "bruno"}),
        (0, "out", sent),
        (1, "out", sent),
        (0, "refused", {"user": "adele", "status": 40400}),
        (1, "in", {"type": "echo", "user": "adele", "over": "http"}),
        (1, "refused", {"status": 40001, "code": 1008}),
        (0, "end", {"user": "adele", "reason": "gone"}),
    ]
    async with tailing(operator, nodes, "--json") as tail:
        async with here.in_room("adele", "tailed") as one, there.in_room("bruno", "tailed") as two:
            one.ignored |= {"room.joined", "chat.message"}
            two.ignored |= {"chat.message"}
            await two.ask("chat.send", room="tailed", text="classified")
            await one.refused("chat.send", room="no.such.room", text="classified")
        token = await here.token("adele")
        assert (await there.ask("POST", "/call/echo", token, json={"text": "classified"})).status_code == 200
        assert (await here.log_in("adele", "a wrong password")).status_code == 401
        async with there.socket(f"?token={token}x") as refused:
            await refused.expect("error")
        for node, what, parts in expected:
            wanted = {"node": nodes[node].state.node_calls.own_id, "what": what, **parts}
            await until(lambda: any(line.items() >= wanted.items() for line in tail.lines))  # noqa: B023 - awaited here
        lines = tail.lines
    assert "classified" not in tail.output.text
    assert token not in tail.output.text
    assert PASSWORD not in tail.output.text
    begun, ended = await the_tail(operator)
    assert (begun["user_agent"], begun["bodies"]) == ("gateway, run by root", "hidden")
    assert ended["lines"] >= len(lines)


async def test_filters_and_bodies_are_what_was_asked_for_and_are_audited(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    here, there = apps
    options = ("--room", "filtered", "--user", "Clara", "--type", "chat.*", "--bodies")
    async with tailing(operator, nodes, *options) as tail:
        async with here.in_room("clara", "filtered") as one, there.in_room("david", "filtered") as two:
            one.ignored |= {"room.joined", "chat.message"}
            two.ignored |= {"chat.message"}
            await two.ask("chat.send", room="filtered", text="not hers")
            await one.ask("room.join", room="elsewhere")
            await one.ask("chat.send", room="elsewhere", text="not there")
            await one.ask(
                "chat.send", room="filtered", text="red \x1b[31m alert", client_id="eyJhbGciOiJ.eyJzdWIi.c2ln"
            )
        await tail.expect("out")
        text = tail.output.text
    assert "not hers" not in text
    assert "not there" not in text
    assert "red \\u001b[31m alert" in text
    assert "\x1b" not in text
    assert "eyJ" not in text
    line = (await operator.audited("tail_began"))[-1]
    kept = {name: line[name] for name in ("room", "of_user", "type", "bodies")}
    assert kept == {"room": "filtered", "of_user": "clara", "type": "chat.*", "bodies": "shown"}


async def test_credentials_are_in_no_line(apps: list[App], operator: Operator, nodes: list[Gateway]) -> None:
    token = await apps[0].token("emma")
    async with tailing(operator, nodes, "--bodies", "--json") as tail:
        async with apps[0].socket() as client:
            await client.send({"type": "auth", "id": 1, "data": {"token": token}})
            await client.until(type="welcome")
            await client.ask("auth.refresh", token=token)
            await client.refused("auth.refresh", token="gwr_" + "x" * 65)
            await client.refused(token)
            await client.refused("chat.send", room=token, text="x")
            await client.ask("echo", token=token, note=f"Bearer {token}", deep=[{"password": PASSWORD}])
        await tail.expect('"end"')
        text = tail.output.text
    assert '"type": "auth.refresh"' in text
    assert token not in text
    assert token.split(".")[1][:20] not in text
    assert "gwr_" not in text
    assert PASSWORD not in text


async def test_a_slow_reader_loses_lines_with_a_count_and_slows_no_one(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    """Ten thousand messages pass within seconds, and the reader sleeps."""
    path = nodes[0].state.local_socket.path
    assert path is not None
    parts = stream(path, "tail", {"bodies": True})
    assert await anext(parts) == {"nodes": [], "lines": [], "lost": 0}
    await until(lambda: all(node.state.taps.is_open for node in nodes))
    sent = 10_000
    async with apps[0].connect("flora") as client, apps[1].connect("gwen") as other:
        for number in range(sent):
            await client.send({"type": "echo", "id": number, "data": {"text": "x" * 500}})
            if number % 100 == 99:
                await client.until(type="reply", id=number)
        await other.expect_nothing()
        shown = lost = 0
        async with asyncio.timeout(60):
            while shown + lost < sent:
                part = await anext(parts)
                shown += sum(line.get("type") == "echo" for line in part["lines"])
                lost += part["lost"]
    assert lost > 0
    assert shown > 0
    await parts.aclose()
    await until(lambda: not any(node.state.taps.is_open for node in nodes))
    _, ended = await the_tail(operator)
    assert ended["lost"] >= lost


async def test_what_waits_for_a_paused_reader_fits_into_one_part() -> None:
    gathered = _Gathered()
    for number in range(1000):
        gathered.add("a", {"lines": [{"what": "in", "body": "é" * 4000}, "none", {"number": number}], "lost": 1})
    part = await gathered.take(1)
    assert len(orjson.dumps({"part": part})) < MAX_PART_BYTES
    assert len(part["lines"]) + part["lost"] == 3000
    gathered.add("a", {"lines": [{"what": "in"}], "lost": 0})
    assert await gathered.take(1) == {"lines": [{"what": "in", "node": "a"}], "lost": 0}


async def test_a_seventeenth_tail_is_refused_in_words(apps: list[App], nodes: list[Gateway]) -> None:
    path = nodes[0].state.local_socket.path
    assert path is not None
    streams = [stream(path, "tail", {}) for _ in range(17)]
    for each in streams[:16]:
        await anext(each)
    await until(lambda: nodes[0].state.taps.is_full)
    with pytest.raises(LocalFailed, match="16 tails are open on this node already"):
        await anext(streams[16])
    for each in streams:
        await each.aclose()
    await until(lambda: not any(node.state.taps.is_open for node in nodes))


async def test_wrong_filters_are_refused_in_words(operator: Operator, nodes: list[Gateway]) -> None:
    assert (await operator.run("tail", "--room", "x" * 65)).problem == "room: String should have at most 64 characters"
    path = nodes[0].state.local_socket.path
    assert path is not None
    for wrong in ({"more": 1}, {"bodies": "perhaps"}, {"user": 1}):
        with pytest.raises(LocalFailed):
            await anext(stream(path, "tail", wrong))
    assert not nodes[0].state.taps.is_open


async def test_a_tail_goes_on_with_another_process(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path)
    operator = Operator(tmp_path)
    with ExitStack() as stack:
        first = stack.enter_context(running_gateway(settings))
        tail = Tail(operator, "--json", "--type", "open")
        await until(lambda: first.state.taps.is_open)
        with running_gateway(settings) as second:
            stack.close()
            await tail.expect("the process has ended; looking for another one")
            await until(lambda: second.state.taps.is_open)
            async with App(second) as app, app.connect("hanna"):
                await tail.expect('"hanna"')
            assert await asyncio.to_thread(tail.end) == 0
