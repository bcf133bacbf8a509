"""Hooks of handlers at the end of a membership and of a room, and the role of a user."""

import asyncio
from typing import Any

import pytest

from gateway.core import faults
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, Registry
from schemas.base import Empty, Wire
from schemas.messages.rooms import LeaveRoom
from tests.conftest import OwnGateway
from tests.support.client import App

Seen = list[tuple[str, ...]]


class RoleReply(Wire):
    """A role."""

    role: str


class MyRole(MsgHandler[LeaveRoom, RoleReply, Seen]):
    """Replies with the user's role, and sees what ends."""

    schema = LeaveRoom

    async def handle(self, data: LeaveRoom) -> RoleReply:
        return RoleReply(role=await self.session.rooms.role(data.room))

    @classmethod
    async def on_member_left(cls, room: str, user: str, state: Seen) -> None:
        state.append(("left", room, user))

    @classmethod
    async def on_room_deleted(cls, room: str, state: Seen) -> None:
        state.append(("deleted", room))


class Clumsy(MsgHandler[Empty, Empty]):
    """Fails at every end."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        return data

    @classmethod
    async def on_member_left(cls, room: str, user: str, state: Any) -> None:
        raise asyncio.CancelledError

    @classmethod
    def on_room_deleted(cls, room: str, state: Any) -> None:  # type: ignore[override]
        raise ZeroDivisionError


REGISTRY = BUILT_IN | Registry(handlers={"clumsy": Clumsy, "my.role": MyRole, "my.role.again": MyRole})


@pytest.mark.usefixtures("fresh_faults")
async def test_every_end_of_a_membership_and_of_a_room_is_reported_once(own_gateway: OwnGateway) -> None:
    seen: Seen = []
    async with App(own_gateway(registry=REGISTRY, state=seen)) as app:
        async with app.gather("den", {"alice": "owner", "bob": "member", "carol": "member"}, private=True) as clients:
            alice, bob, carol = clients
            await alice.ask("room.kick", room="den", user="bob")
            assert seen == [("left", "den", "bob")]
            await bob.expect("room.left")
            await carol.expect("room.left")
            await carol.ask("room.leave", room="den")
            assert seen[1:] == [("left", "den", "carol")]
            await alice.until(type="room.left")
            await alice.until(type="room.left")
            await alice.ask("room.leave", room="den")
            assert seen[2:] == [
                ("left", "den", "alice"),
                ("deleted", "den"),
            ]  # a private room ends with its last member
            await alice.heard()
            await alice.ask("room.create", room="hall", private=False)
            await alice.ask("room.delete", room="hall")
            assert seen[4:] == [("deleted", "hall")]
        assert faults.counters["hooks"] == 5


async def test_what_ends_no_membership_is_not_reported(own_gateway: OwnGateway) -> None:
    seen: Seen = []
    async with App(own_gateway(registry=REGISTRY, state=seen)) as app:
        async with app.connect("alice") as alice, app.connect("bob") as bob:
            await alice.ask("room.create", room="den", private=True)
            await alice.ask("room.invite", room="den", user="bob")
            await bob.expect("room.invited")
            await bob.ask("room.leave", room="den")  # declines
            await bob.heard()
            await alice.ask("room.invite", room="den", user="bob")
            await alice.ask("room.kick", room="den", user="bob")  # takes the invitation back
            await bob.heard()
            assert (await bob.refused("room.leave", room="den"))["status"] == 40400
            assert (await bob.refused("room.delete", room="den"))["status"] == 40400
            await alice.ask("room.create", room="hall", private=False)
            await bob.ask("room.leave", room="hall")
        assert seen == []


async def test_a_handler_asks_for_the_role_of_its_user(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registry=REGISTRY, state=[])) as app:
        async with app.connect("alice") as alice, app.connect("bob") as bob:
            await alice.ask("room.create", room="hall", private=False)
            assert await alice.ask("my.role", room="hall") == {"role": "owner"}
            assert (await bob.refused("my.role", room="hall"))["status"] == 40301
            await bob.ask("room.join", room="hall")
            assert await bob.ask("my.role", room="hall") == {"role": "member"}
            await alice.ask("room.create", room="den", private=True)
            for unknown in ("den", "nowhere"):
                assert (await bob.refused("my.role", room=unknown))["status"] == 40400
