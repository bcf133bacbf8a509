"""A member types and publishes without a question to the store; a user that is no member any more does neither."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, Registry
from schemas.base import Empty, Event, Wire
from schemas.names import RoomName
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.nodes import running_nodes
from tests.support.plans import Recorder
from tests.support.valkey import Valkey


class Wave(Wire):
    """Wave at a room."""

    room: RoomName


class Waved(Event):
    """A member waves."""

    type: ClassVar[str] = "waved"

    user: str


class WaveHandler(MsgHandler[Wave, Empty]):
    """Publishes that its user waves."""

    schema = Wave

    async def handle(self, data: Wave) -> Empty:
        await self.session.rooms.publish(data.room, Waved(user=self.session.user))
        return Empty()


WAVING = BUILT_IN | Registry(handlers={"wave": WaveHandler}, events=(Waved,))


async def expect_refusal(client: ChatClient, room: str, status: int) -> None:
    """Check that a user can neither type nor publish in a room."""
    for type_ in ("chat.typing", "wave"):
        assert (await client.refused(type_, room=room))["status"] == status


@contextmanager
def without_the_store(recorder: Recorder) -> Iterator[None]:
    """Check that no statement about rooms or members runs meanwhile."""
    with recorder.statements() as found:
        yield
    assert [sql for sql, _ in found if "memberships" in sql] == []


async def test_a_member_that_has_joined_types_and_publishes_without_the_store(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    async with App(own_gateway(registry=WAVING)) as app, app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby") as ben:
            await ann.expect("room.joined")
            with without_the_store(recorder):
                await ben.ask("chat.typing", room="lobby")
                await ben.ask("wave", room="lobby")
                await ben.expect("waved")
            await ann.expect("chat.typing", user="bob")
            await ann.expect("waved", user="bob")


async def test_a_user_that_was_kicked_has_left_or_has_never_joined_is_refused(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registry=WAVING)) as app, app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby") as ben, app.in_room("carol", "lobby") as cat:
            await ann.heard()
            await ann.ask("room.kick", room="lobby", user="bob")
            await ben.until(type="room.left", data={"room": "lobby", "user": "bob", "by": "alice"})
            await expect_refusal(ben, "lobby", 40301)
            await cat.until(type="room.left")
            await cat.ask("room.leave", room="lobby")
            await cat.expect("room.left", user="carol")
            await expect_refusal(cat, "lobby", 40301)
        async with app.connect("dora") as dora:
            await expect_refusal(dora, "lobby", 40301)
            await expect_refusal(dora, "nowhere", 40400)
        assert {event["type"] for event in await ann.heard()} == {"room.left"}


async def test_members_of_a_deleted_room_are_no_members_of_one_that_is_made_anew(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registry=WAVING)) as app, app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby") as ben:
            await ann.heard()
            await ann.ask("room.delete", room="lobby")
            await ann.expect("room.deleted")
            await ben.until(type="room.deleted")
            await expect_refusal(ben, "lobby", 40400)
            await ann.ask("room.join", room="lobby")
            await expect_refusal(ben, "lobby", 40301)
            await ann.expect_nothing()


async def test_a_kick_and_a_new_room_on_another_node_count_too(tmp_path: Path, store_url: str, valkey: Valkey) -> None:
    with running_nodes(tmp_path, store_url, valkey) as [first, second]:
        async with App(first) as here, App(second) as there, here.in_room("alice", "lobby") as ann:
            ann.ignored |= {"room.joined", "room.left", "room.deleted", "chat.typing"}
            async with there.in_room("bob", "lobby") as ben, there.in_room("carol", "lobby") as cat:
                await ann.ask("room.kick", room="lobby", user="bob")
                await ben.until(type="room.left", data={"room": "lobby", "user": "bob", "by": "alice"})
                assert (await ben.refused("chat.typing", room="lobby"))["status"] == 40301
                await cat.until(type="room.left")
                await cat.ask("chat.typing", room="lobby")
                await ann.ask("room.delete", room="lobby")
                await cat.until(type="room.deleted")
                await ann.ask("room.create", room="lobby")
                assert (await cat.refused("chat.typing", room="lobby"))["status"] == 40301
