"""Users that come and go, and rooms that are occupied and vacated: told by turns, also after a crash."""

from pathlib import Path

import pytest

from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.conftest import OwnGateway
from tests.gateway.webhooks.conftest import is_empty
from tests.support.client import App
from tests.support.receivers import Received, Receiver, running_receiver, use_hooks
from tests.support.waiting import until

pytestmark = [pytest.mark.both_stores, pytest.mark.usefixtures("looks_often")]

USERS = "user.connected", "user.offline"
ROOMS = "room.occupied", "room.vacated"


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let users be gone at once, and compare soon after a start."""
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 0)
    monkeypatch.setattr("gateway.webhooks.comings.FIRST_CHECK_SECONDS", 1)


def told(events: list[Received]) -> list[tuple[str, str]]:
    return [(event.type, event.data.get("user") or event.data["room"]) for event in events]


async def test_a_user_is_connected_with_the_first_connection_and_offline_after_the_last(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook(*USERS))
    async with App(gateway) as app:
        async with app.connect("alice"):
            async with app.connect("alice"):
                pass
            await receiver.expect(1)
        await receiver.expect(2)
        async with app.connect("alice"):
            await receiver.expect(3)
    await receiver.expect(4)
    assert told(receiver.got) == [("user.connected", "alice"), ("user.offline", "alice")] * 2
    assert all(event.verified for event in receiver.got)
    await until(lambda: is_empty(gateway))


async def test_a_room_is_occupied_by_its_first_listener_and_vacated_by_its_last(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook(*ROOMS, rooms=["team-*"]))
    async with App(gateway) as app:
        async with app.in_room("alice", "lobby") as alice:
            await alice.ask("room.join", room="team-red")
            await receiver.expect(1)
            async with app.in_room("bobby", "team-red"):
                pass
            await alice.heard()
            await alice.ask("room.leave", room="team-red")
            await receiver.expect(2)
            await alice.heard()
            await alice.ask("room.join", room="team-red")
            await receiver.expect(3)
        await receiver.expect(4)
    assert told(receiver.got) == [("room.occupied", "team-red"), ("room.vacated", "team-red")] * 2


async def test_a_hook_that_wants_only_the_ends_gets_only_those(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("user.offline", "room.vacated"))
    async with App(gateway) as app, app.in_room("alice", "lobby"):
        pass
    events = await receiver.expect(2)
    assert sorted(told(events)) == [("room.vacated", "lobby"), ("user.offline", "alice")]


async def test_a_new_hook_is_told_of_all_that_is_there_and_an_old_one_of_nothing_twice(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby"), running_receiver() as new:
        await use_hooks(gateway, receiver.hook(*USERS, *ROOMS))
        await receiver.expect(2)
        await use_hooks(gateway, receiver.hook(*USERS, *ROOMS), new.hook(*USERS, *ROOMS, name="new"))
        events = await new.expect(2)
        assert sorted(told(events)) == [("room.occupied", "lobby"), ("user.connected", "alice")]
        await until(lambda: is_empty(gateway))
        assert len(receiver.got) == 2


async def test_the_end_of_what_a_stopped_gateway_had_follows_after_its_start(
    store_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for_tests(tmp_path, database_url=store_url, drain_seconds=0)
    hook = receiver.hook(*USERS, *ROOMS)
    with running_gateway(settings) as gateway:
        await use_hooks(gateway, hook)
        async with App(gateway) as app, app.in_room("alice", "lobby"), app.connect("bobby"):
            await receiver.expect(3)
            await until(lambda: is_empty(gateway))
            # It forgets its users without a word, as after a kill.
            await gateway.run(forget(gateway))
    with running_gateway(settings) as gateway:
        await use_hooks(gateway, hook)
        async with App(gateway) as app, app.connect("bobby"):
            events = await receiver.expect(5)
    assert sorted(told(events[3:])) == [("room.vacated", "lobby"), ("user.offline", "alice")]


async def forget(gateway: Gateway) -> None:
    gateway.state.cluster.roster.watch(None, users=False, rooms=False)
