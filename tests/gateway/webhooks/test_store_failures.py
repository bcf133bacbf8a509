"""The store is down while events are on their way: the gateway waits, and loses none."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.webhooks.conftest import is_empty
from tests.support.client import App
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.receivers import Receiver, use_hooks
from tests.support.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def gateway(server: Postgres, tmp_path: Path) -> Iterator[Gateway]:
    with fresh_database(server.url("postgres")) as url:
        with running_gateway(settings_for_tests(tmp_path, database_url=url)) as running:
            yield running


async def test_events_wait_for_a_store_that_is_down_and_none_is_lost(
    server: Postgres, gateway: Gateway, receiver: Receiver
) -> None:
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.may_answer.clear()
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        for number in range(5):
            await alice.say("lobby", str(number))
        await until(lambda: receiver.at_work)
        await asyncio.to_thread(server.stop)
        receiver.may_answer.set()
        await until(lambda: len(receiver.got) >= 1 and not receiver.at_work)
        await asyncio.to_thread(server.start)
        await until(lambda: _is_empty(gateway), 60)
    texts = [event.data["message"]["text"] for event in {each.id: each for each in receiver.got}.values()]
    assert texts == [str(number) for number in range(5)]
    assert {each.id: each.body for each in receiver.got}.items() >= {(each.id, each.body) for each in receiver.got}


async def _is_empty(gateway: Gateway) -> bool:
    try:
        return await is_empty(gateway)
    except Exception:
        return False
