"""`gateway kick`: connections end now, on all nodes."""

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.auth.sessions import LoginSessions
from gateway.operating import kick
from gateway.testing import Gateway
from schemas.services import CONNECTIONS
from tests.gateway.operating.conftest import Operator
from tests.support.client import App, ChatClient
from tests.support.waiting import until

pytestmark = pytest.mark.server

KICKED = {"code": 4403, "reason": "disconnected", "reconnect": "never"}


async def expect_kicked(*clients: ChatClient) -> None:
    for client in clients:
        await client.until(type="bye")
        await client.expect_close(4403, "disconnected")


async def test_all_connections_of_a_user_end_on_all_nodes_and_those_of_others_stay(
    apps: list[App], operator: Operator
) -> None:
    here, there = apps
    async with here.in_room("mallory", "kicks") as one, there.connect("mallory") as two, there.connect("mall") as other:
        assert await operator.succeed("kick", " Mallory ") == "closed 2 connections of mallory\n"
        assert (await one.until(type="bye"))["data"] == KICKED
        await expect_kicked(two)
        await other.expect_nothing()
        async with here.connect("mallory") as again:  # the tokens stay good
            await again.expect_nothing()
    [line] = await operator.audited("kicked")
    assert (line["of_user"], line["closed"], line["user_agent"]) == ("mallory", 2, "gateway, run by root")


async def test_sessions_end_with_the_connections_and_no_token_works_any_more(
    apps: list[App], operator: Operator
) -> None:
    here, there = apps
    tokens = [await app.token("mike") for app in (here, there, here)]
    async with there.connect_with(tokens[1]) as client:
        out = await operator.succeed("kick", "mike", "--sessions")
        assert out == "closed 1 connection of mike, and ended 3 sessions\n"
        await expect_kicked(client)
    for app, token in zip((here, there, here), tokens, strict=True):
        async with app.socket(f"?token={token}") as refused:
            await refused.expect("error")
            await refused.expect("bye", code=1008)
    async with here.connect("mike"):  # a new log-in works: that is for `gateway users disable`
        pass


async def test_one_connection_ends_and_its_session_with_it(apps: list[App], operator: Operator) -> None:
    here, there = apps
    async with here.connect("nina") as one, there.connect("nina") as two:
        id = one.welcome["connection"]
        out = await operator.succeed("kick", "--connection", id, "--sessions")
        assert out == f"closed 1 connection with id {id}, and ended 1 session\n"
        await expect_kicked(one)
        await two.expect_nothing()
        done = await operator.run("kick", "--connection", id)
        assert done.problem == f"there is no connection with id {id}; see: gateway tail"


async def test_an_address_loses_all_its_connections_also_those_without_a_log_in(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    here, there = apps
    async with here.connect("olga") as one, there.connect("pete") as two, there.socket() as pending:
        await until(lambda: nodes[1].state.connections._pending)
        assert await operator.succeed("kick", "--address", "127.0.0.2") == "closed 0 connections from 127.0.0.2\n"
        await one.expect_nothing()
        assert await operator.succeed("kick", "--address", "127.0.0.1") == "closed 3 connections from 127.0.0.1\n"
        await expect_kicked(one, two, pending)


async def test_sessions_that_ended_before_the_store_hung_are_counted_and_the_others_named(
    apps: list[App], operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, users = LoginSessions.end, []

    async def end_one(self: LoginSessions, user_id: str, *arguments: Any, **options: Any) -> list[str]:
        users.append(user_id)
        if len(users) > 1:
            await asyncio.get_running_loop().create_future()
        return await end(self, user_id, *arguments, **options)

    monkeypatch.setattr(LoginSessions, "end", end_one)
    monkeypatch.setattr(kick, "STORE_SECONDS", 0.5)
    async with AsyncExitStack() as stack:
        for number in range(3):
            await stack.enter_async_context(apps[0].connect(f"rupert{number}"))
        done = await operator.run("kick", "--address", "127.0.0.1", "--sessions")
    assert (done.status, done.out) == (1, "closed 3 connections from 127.0.0.1, and ended 1 session\n")
    assert re.fullmatch(
        r"gateway: some sessions were not ended: the store does not answer; when it does,"
        r" `gateway kick USER --sessions` for rupert\d, rupert\d\n",
        done.err,
    )
    assert (await operator.audited("kicked"))[-1]["ended"] == 1


async def test_a_kick_during_joins_leaves_nothing_behind(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(app.connect("quentin")) for app in apps * 3]
        started = [
            client.start("room.join", room=f"join-{number}", create=True) for client in clients for number in range(20)
        ]
        kick = asyncio.create_task(operator.succeed("kick", "quentin"))
        await asyncio.gather(*started, return_exceptions=True)
        assert await kick == "closed 6 connections of quentin\n"
        await expect_kicked(*clients)
    for node in nodes:
        await until(lambda: not node.state.connections.all())  # noqa: B023 - awaited here
        for room in node.state.hub.room_names:
            found = node.state.hub.find(room)
            assert found is not None
            assert not found.connections
    async with apps[0].in_room("quentin", "join-1") as again:
        await again.heard()


async def test_a_worker_of_a_service_is_kicked_by_its_name(apps: list[App], operator: Operator) -> None:
    assert CONNECTIONS
    done = await operator.run("kick", "service:orders")
    assert done.problem.startswith("there is no user and no connection of service:orders")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["kick"], "expected one of USER, --connection ID and --address ADDRESS"),
        (["kick", "x-men", "--address", "::1"], "expected one of USER, --connection ID and --address ADDRESS"),
        (["kick", "nobody.there"], "there is no user and no connection of nobody.there; see: gateway users list"),
        (["kick", "--address", "127.0.0"], "--address: expected an IP address, such as 192.0.2.7 or 2001:db8::1, got"),
        (["kick", "--address", "127.0.0.0/8"], "--address: expected an IP address"),
        (["kick", "--connection", "zzz"], "there is no connection with id zzz; see: gateway tail"),
        (["kick", "x" * 200], "user: String should have at most 128 characters"),
        (["kick", "../../etc/passwd"], "there is no user and no connection of ../../etc/passwd"),
    ],
)
async def test_a_wrong_kick_is_one_line(
    apps: list[App], operator: Operator, arguments: list[str], problem: str
) -> None:
    assert (await operator.run(*arguments)).problem.startswith(problem)
