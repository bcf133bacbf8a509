"""A bus that is away, evicts, refuses or is full."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.cli.doctor import bus
from gateway.cli.doctor.findings import Verdict
from gateway.cli.doctor.machine import clock_difference
from tests.gateway.cli.doctor.conftest import Look, bad, worst
from tests.support.valkey import Valkey


@pytest.mark.server
def test_no_bus_is_fine_and_one_that_is_away_is_not(look: Look) -> None:
    assert worst(look("bus")) is Verdict.OK
    found = bad(look("bus", bus_url="redis://carol:a-secret@127.0.0.1:9/0"))
    assert found.verdict is Verdict.PROBLEM
    assert "127.0.0.1:9" in found.found
    assert "secret" not in found.found + found.change


async def test_a_real_bus_is_fine(look: Look, valkey: Valkey) -> None:
    found = await _in_thread(lambda: look("bus", bus_url=valkey.url))
    assert worst(found) is Verdict.OK
    assert "Valkey" in found[-1].found


@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, Verdict.PROBLEM),
        ({"maxmemory_policy": "volatile-ttl", "maxmemory": 100}, Verdict.PROBLEM),
        ({"maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 95}, Verdict.WARNING),
    ],
)
def test_a_bus_that_evicts_or_is_full(info: dict[str, Any], verdict: Verdict) -> None:
    assert bad(list(bus._of_memory(info, "redis.example.com:6379"))).verdict is verdict


def test_a_bus_with_another_clock() -> None:
    assert [each.verdict for each in clock_difference(12, "the bus")] == [Verdict.PROBLEM]


async def test_an_account_without_rights(look: Look, unreliable: Valkey) -> None:
    async with Redis.from_url(unreliable.url) as admin:
        rights: list[Any] = ["ACL", "SETUSER", "weak", "on", ">a-secret", "~other:*", "&other:*", "+@all"]
        await admin.execute_command(*rights)  # type: ignore[no-untyped-call] # redis-py has types for most
    url = unreliable.url.replace("redis://", "redis://weak:a-secret@")
    found = bad(await _in_thread(lambda: look("bus", bus_url=url)))
    assert found.verdict is Verdict.PROBLEM
    assert "~json-gateway:*" in found.change
    assert "a-secret" not in found.found + found.change


async def _in_thread(work: Any) -> Any:
    return await asyncio.to_thread(work)
