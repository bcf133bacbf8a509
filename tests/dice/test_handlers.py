"""Tests of the dice: the handler alone, and then in a gateway."""

import asyncio
import json
import random

import pytest
from websockets.asyncio.client import connect

from gateway.testing import Call, FakeSession, StartGateway
from handlers.errors import MissingScope, NotAMember, ValidationFailed
from tests.dice.handlers import DiceRolled, NotYourTurn, Rolled, RollHandler, registry


@pytest.fixture
def session() -> FakeSession[random.Random]:
    return FakeSession(user="alice", scopes={"chat:write"}, state=random.Random(1))


async def test_a_roll_is_shown_to_the_room(session: FakeSession[random.Random]) -> None:
    await session.run(RollHandler, {"room": "lobby"})
    assert session.replies == [(1, Rolled(value=2))]
    event = DiceRolled(user="alice", value=2)
    assert session.calls[-1] == Call("rooms.publish", {"room": "lobby", "event": event, "droppable": False})


async def test_a_plain_member_waits(session: FakeSession[random.Random]) -> None:
    session.answers["rooms.role"] = "member"
    await session.run(RollHandler, {"room": "lobby"})
    [(_, error)] = session.refusals
    assert isinstance(error, NotYourTurn)


async def test_only_members_roll(session: FakeSession[random.Random]) -> None:
    session.answers["rooms.role"] = NotAMember("lobby")
    await session.run(RollHandler, {"room": "lobby"})
    [(_, error)] = session.refusals
    assert isinstance(error, NotAMember)


async def test_a_die_has_two_sides_or_more(session: FakeSession[random.Random]) -> None:
    await session.run(RollHandler, {"room": "lobby", "sides": 1})
    [(_, error)] = session.refusals
    assert isinstance(error, ValidationFailed)


async def test_a_roll_needs_its_scope() -> None:
    session = FakeSession(state=random.Random(1))
    await session.run(RollHandler, {"room": "lobby"})
    [(_, error)] = session.refusals
    assert isinstance(error, MissingScope)


async def test_a_client_rolls(start_gateway: StartGateway) -> None:
    gateway = start_gateway(registry=registry, state=random.Random(1))
    token = await gateway.token("alice")
    async with asyncio.timeout(20), connect(f"{gateway.ws_url}/ws/chat?token={token}") as ws:
        await ws.send(json.dumps({"type": "room.create", "id": 1, "data": {"room": "lobby"}}))
        await ws.send(json.dumps({"type": "dice.roll", "id": 2, "data": {"room": "lobby"}}))
        while (frame := json.loads(await ws.recv())).get("id") != 2:
            assert frame["type"] != "error", frame
    assert frame["data"] == {"value": 2}
