"""Guessing passwords on several nodes gives no more guesses than on one."""

import asyncio
from collections import Counter

import pytest

from gateway.testing import Gateway
from tests.gateway.auth.test_throttle import guess
from tests.gateway.cluster.conftest import RunNode, RunNodes
from tests.support.client import PASSWORD, App
from tests.support.valkey import Valkey, running_cluster
from tests.support.waiting import until

LIMITS = {"login_rate_per_user": 5, "login_rate_per_address": 20, "login_backoff_seconds": 900}


@pytest.fixture
def guarded(run_nodes: RunNodes) -> list[Gateway]:
    """Two gateways with the default limits, behind a proxy on this machine."""
    return run_nodes(trusted_proxies="127.0.0.1", **LIMITS)


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_of_six_guesses_on_two_nodes_two_reach_the_hash(guarded: list[Gateway], name: str) -> None:
    guarded[1].clock.ahead = 30
    async with App(guarded[0]) as here, App(guarded[1]) as there:
        await here.register("alice")
        answers = [await guess(app, name, "10.0.0.1") for app in (here, there) * 3]
        assert [answer.status_code for answer in answers] == [401, 401, 429, 429, 429, 429]
        assert [answer.headers.get("Retry-After") for answer in answers[2:]] == ["1"] * 4
        assert (await guess(there, "alice", "10.0.0.2", PASSWORD)).status_code == (429 if name == "alice" else 200)


async def test_where_a_user_has_logged_in_on_one_node_guesses_elsewhere_keep_the_user_in_on_another(
    guarded: list[Gateway],
) -> None:
    async with App(guarded[0]) as here, App(guarded[1]) as there:
        await here.register("alice")
        assert (await guess(here, "alice", "10.0.0.1", PASSWORD)).status_code == 200
        for number in range(4):
            await guess(there, "alice", f"10.0.1.{number}")
        assert (await guess(here, "alice", "10.0.1.9", PASSWORD)).status_code == 429
        assert (await guess(there, "alice", "10.0.0.1", PASSWORD)).status_code == 200


async def test_many_guesses_at_once_on_two_nodes_are_no_way_around_it(guarded: list[Gateway]) -> None:
    async with App(guarded[0]) as here, App(guarded[1]) as there:
        await here.register("alice")
        guesses = [guess(app, "alice", f"10.0.0.{number}") for number in range(10) for app in (here, there)]
        answers = await asyncio.gather(*guesses)
        assert Counter(answer.status_code for answer in answers) == {401: 2, 429: 18}


async def test_an_address_has_one_rate_on_all_nodes_for_log_ins_and_registrations(run_nodes: RunNodes) -> None:
    nodes = run_nodes(login_rate_per_address=4)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        statuses = [(await app.register(f"user-{number}")).status_code for number in (1, 2) for app in (here, there)]
        assert statuses == [201, 409, 201, 409]
        assert (await here.register("user-3")).status_code == 429
        assert (await there.log_in("user-1")).status_code == 429


async def test_an_address_registers_so_many_users_an_hour_on_all_nodes(run_nodes: RunNodes) -> None:
    nodes = run_nodes(registration_rate_per_address=3)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        answers = [await app.register(f"user-{number}") for number, app in enumerate((here, there) * 2)]
        assert [answer.status_code for answer in answers] == [201] * 3 + [429]
        assert 1100 < int(answers[3].headers["Retry-After"]) <= 1201
        assert (await there.log_in("user-0")).status_code == 200


async def test_a_success_forgets_the_failures_of_all_nodes(run_nodes: RunNodes) -> None:
    nodes = run_nodes(login_backoff_seconds=1)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        await here.register("alice")
        assert (await here.log_in("alice", "a wrong guess")).status_code == 401
        assert (await there.log_in("alice")).status_code == 200
        assert (await here.log_in("alice", "a wrong guess")).status_code == 401
        assert (await there.log_in("alice", "a wrong guess")).status_code == 401
        assert (await there.log_in("alice", "a wrong guess")).status_code == 429


async def test_typed_names_are_not_written_down(
    guarded: list[Gateway], shared_valkey: Valkey, run_node: RunNode, prefix: str
) -> None:
    async with App(guarded[0]) as here, run_node() as node:
        await guess(here, "my-password-in-the-wrong-field", "10.0.0.1")
        [[_, keys]] = await node.link.execute([("SCAN", 0, "MATCH", f"{prefix}:*", "COUNT", 10_000)])
        assert any(b"{log-in}" in key for key in keys)
        assert not any(b"my-password" in key for key in keys)


async def test_what_another_program_has_written_there_allows_no_guess_for_free(
    run_nodes: RunNodes, run_node: RunNode, prefix: str
) -> None:
    [gateway] = run_nodes(count=1, **LIMITS)
    async with App(gateway) as app, run_node() as node:
        assert (await app.log_in("nobody", "a wrong guess")).status_code == 401
        [[_, keys]] = await node.link.execute([("SCAN", 0, "MATCH", f"{prefix}:{{log-in}}:*", "COUNT", 10_000)])
        await node.link.execute([("SET", key, "nonsense") for key in keys])
        assert [(await app.log_in("nobody", "a wrong guess")).status_code for _ in range(3)] == [401, 401, 429]
        await node.link.execute([("DEL", key) for key in keys])
        await node.link.execute([("HSET", key, "tokens", "x", "at", "y", "failures", "z", "until", "") for key in keys])
        assert [(await app.log_in("nobody", "a wrong guess")).status_code for _ in range(3)] == [401, 401, 429]


async def test_a_redis_cluster_throttles_as_well(run_nodes: RunNodes) -> None:
    with running_cluster() as cluster:
        nodes = run_nodes(f"redis+cluster://127.0.0.1:{cluster.port}", login_backoff_seconds=900)
        async with App(nodes[0]) as here, App(nodes[1]) as there:
            # A cluster that has just begun may answer too late at first. Then each node throttles by itself.
            await until(lambda: all(node.state.cluster.figures().shared for node in nodes))
            answers = [(await app.log_in("nobody", "a wrong guess")).status_code for app in (here, there) * 2]
            assert answers == [401, 401, 429, 429]


async def test_while_redis_is_down_each_node_throttles_by_itself(run_nodes: RunNodes, valkey: Valkey) -> None:
    nodes = run_nodes(valkey, **LIMITS)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        await here.register("alice")
        valkey.stop()
        for app in (here, there):
            assert [(await app.log_in("alice", "a wrong guess")).status_code for _ in range(3)] == [401, 401, 429]
