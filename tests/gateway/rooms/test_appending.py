"""Pieces gather in groups, in front of the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from gateway.bus.memory import MemoryBus
from gateway.rooms import appending
from gateway.rooms.appending import MAX_GROUP_PIECES, Appender
from gateway.rooms.growth import NewPiece
from gateway.rooms.log import Log
from gateway.rooms.message_changes import Delete, Edit, Send
from gateway.store import rooms, users
from gateway.store.engine import Database, StoreUnavailable
from gateway.testing import MovableClock
from handlers.errors import Conflict, Forbidden, MessageError, NotFound, WrongLength
from schemas.messages.chat import AppendReply

pytestmark = pytest.mark.both_stores


class Place:
    """A room with a message, and what adds to it."""

    def __init__(self, log: Log, appender: Appender, alice: str, bob: str) -> None:
        self.log = log
        self.appender = appender
        self.alice = alice
        self.bob = bob
        self.message = ""
        self.events = 0

    def append(self, text: str, user: str = "", **more: Any) -> "asyncio.Future[AppendReply]":
        return self.appender.append("lobby", user or self.alice, self.message, NewPiece(text, **more))

    async def text(self) -> str | None:
        written = await self.log.append(Send("lobby", self.alice, "alice", "-", None, None, "first"))
        return written.message.text


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    def fill(connection: Any) -> tuple[str, str]:
        room = rooms.add(connection, name="lobby", now=0)
        added = [users.add(connection, name=name, password_hash="x", now=0).id for name in ("alice", "bob")]
        for user_id in added:
            rooms.add_member(connection, room, user_id, "owner", 0)
        return added[0], added[1]

    log = Log(database, MemoryBus(), MovableClock(), max_waiting=100)
    async with log.running(), Appender(log).running() as appender:
        place = Place(log, appender, *(await database.transact(fill)))
        sent = await log.append(Send("lobby", place.alice, "alice", "0", None, None, "first"))
        place.message = f"{sent.room.epoch}.{sent.message.offset}"
        yield place


async def outcomes(*futures: "asyncio.Future[AppendReply]") -> list[Any]:
    """Return the length and the change of each piece, or the kind of its error."""
    answers = await asyncio.gather(*futures, return_exceptions=True)
    return [(answer.length, answer.changed) if isinstance(answer, AppendReply) else type(answer) for answer in answers]


async def test_pieces_of_one_moment_are_one_change_with_an_outcome_each(place: Place) -> None:
    pieces = [place.append("1"), place.append("2", at=2), place.append("x", at=2), place.append("3", at=3)]
    assert place.appender.is_gathering("lobby", place.alice, place.message)
    assert await outcomes(*pieces) == [(2, 2), (3, 2), WrongLength, (4, 2)]
    assert not place.appender.is_gathering("lobby", place.alice, place.message)
    assert await outcomes(place.append("", done=True), place.append("4")) == [(4, 3), Conflict]
    assert await place.text() == "0123"


async def test_a_group_without_a_good_piece_takes_no_offset(place: Place) -> None:
    assert await outcomes(place.append("1", at=9), place.append("2", at=0)) == [WrongLength, WrongLength]
    assert await outcomes(place.append("1")) == [(2, 2)]


async def test_pieces_of_another_user_have_a_group_of_their_own(place: Place) -> None:
    assert await outcomes(place.append("1"), place.append("x", place.bob), place.append("2")) == [
        (2, 2),
        Forbidden,
        (3, 2),
    ]


@pytest.mark.parametrize("long", [False, True])
async def test_a_full_group_goes_to_the_log_at_once(place: Place, monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    monkeypatch.setattr(appending, "GROUP_SECONDS", 3600)
    pieces = [place.append("x" * 4000) for _ in range(2)] if long else [place.append("x") for _ in range(500)]
    assert len(pieces) == (2 if long else MAX_GROUP_PIECES)
    async with asyncio.timeout(20):
        assert {changed for _, changed in await outcomes(*pieces)} == {2}
        assert await outcomes(place.append("", done=True)) == [(1 + 500 if not long else 8001, 3)]


@pytest.mark.parametrize("change", [Edit, Delete])
async def test_another_change_of_the_message_comes_after_the_pieces_before_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Edit | Delete]
) -> None:
    monkeypatch.setattr(appending, "GROUP_SECONDS", 3600)
    piece = place.append("1")
    change = partial(change, text="new", body=None) if change is Edit else change
    async with asyncio.timeout(20):
        written = await place.appender.change(change(room="lobby", user_id=place.alice, message_id=place.message))
        assert (await outcomes(piece), written.message.changed) == ([(2, 2)], 3)


async def test_what_gathers_at_the_end_is_stored(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "GROUP_SECONDS", 3600)
    async with place.appender.running():
        piece = place.append("1")
    async with asyncio.timeout(20):
        assert await outcomes(piece) == [(2, 2)]


async def test_a_caller_that_is_gone_takes_no_piece_with_it(place: Place) -> None:
    gone, stays = place.append("1"), place.append("2")
    gone.cancel()
    assert await stays == AppendReply(message_id=place.message, changed=2, length=3, done=False)
    assert await place.text() == "012"


async def test_a_log_that_takes_no_more_refuses_every_piece(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.log, "_max_waiting", 0)
    pieces = [place.append("1"), place.append("2")]
    assert await outcomes(*pieces) == [StoreUnavailable, StoreUnavailable]
    monkeypatch.setattr(place.log, "_max_waiting", 100)
    assert await outcomes(place.append("3", at=1)) == [(2, 2)]


async def test_a_store_that_is_away_refuses_every_piece_and_all_may_come_again(
    place: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise StoreUnavailable("store")

    with monkeypatch.context() as patched:
        patched.setattr(database, "run_script", away)
        assert await outcomes(place.append("1"), place.append("2")) == [StoreUnavailable, StoreUnavailable]
    assert await outcomes(place.append("1", at=1), place.append("2", at=2)) == [(2, 2), (3, 2)]


async def test_a_message_or_a_room_that_is_not_there_refuses_every_piece(place: Place) -> None:
    place.message = "other.1"
    assert await outcomes(place.append("1"), place.append("2")) == [NotFound, NotFound]
    nowhere = place.appender.append("nowhere", place.alice, place.message, NewPiece("1"))
    with pytest.raises(MessageError):
        await nowhere
