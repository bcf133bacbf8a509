"""The log: any order of changes has the result of a simple model, and nothing acknowledged is lost."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped] # it brings no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.bus.base import BusEvent, Logged
from gateway.bus.memory import MemoryBus
from gateway.core import faults
from gateway.rooms.batch import Change
from gateway.rooms.events import written_event
from gateway.rooms.history_reader import changes_since
from gateway.rooms.log import Log
from gateway.rooms.message_changes import Delete, Edit, Send, Written
from gateway.store import messages, rooms, users, writes
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.messages import message_id
from gateway.store.prepared import Script
from gateway.testing import MovableClock
from handlers.errors import Conflict, Forbidden, MessageError, NotFound
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until

ROOM = "lobby"
USERS = ("alice", "bob")


@dataclass
class Said:
    """A message of the model."""

    sender: str
    text: str
    changed: int
    deleted: bool = False


class Model:
    """What the log should be: a list of messages and a counter."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.offsets: list[int] = []
        self.top = 0

    def send(self, user: str, text: str) -> None:
        self.top += 1
        self.said.append(Said(user, text, self.top))
        self.offsets.append(self.top)

    def change(self, user: str, index: int, text: str | None) -> type[MessageError] | None:
        if index >= len(self.said):
            return NotFound
        message = self.said[index]
        if text is not None and message.deleted:
            return Conflict if message.sender == user else Forbidden
        if message.sender != user and (text is not None or user != "alice"):  # the owner of the room
            return Forbidden
        if not message.deleted:
            self.top += 1
            message.changed, message.deleted, message.text = self.top, text is None, text or ""
        return None

    def since(self, offset: int) -> list[int]:
        return sorted(message.changed for message in self.said if message.changed > offset)


actions = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(USERS), st.text("ab", min_size=1, max_size=3)),
    st.tuples(st.just("edit"), st.sampled_from(USERS), st.integers(0, 8)),
    st.tuples(st.just("delete"), st.sampled_from(USERS), st.integers(0, 8)),
    st.tuples(st.just("resume"), st.just(""), st.integers(0, 20)),
)


class Place:
    """A database with a room of two, and a log that writes to it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'test.db'}", synchronous="NORMAL")
        self.bus = MemoryBus()
        self.published: list[Logged] = []
        self.log = Log(self.database, self.bus, MovableClock(), max_waiting=1000)
        self.stack = AsyncExitStack()

    async def open(self) -> rooms.RoomRow:
        await self.database.upgrade()
        room = await self.database.transact(self._add_room)

        def receive(published: BusEvent) -> int:
            assert isinstance(published, Logged)
            self.published.append(published)
            return 1

        await self.bus.start(receive, lambda _: None, lambda _: None)
        await self.stack.enter_async_context(self.database)
        await self.stack.enter_async_context(self.log.running())
        return room

    def _add_room(self, connection: Connection) -> rooms.RoomRow:
        room = rooms.add(connection, name=ROOM, now=0)
        for name in USERS:
            user = users.add(connection, name=name, password_hash="x", now=0)
            rooms.add_member(connection, room, user.id, "owner" if name == "alice" else "member", 0)
            setattr(self, name, user.id)
        return room

    async def close(self) -> None:
        await self.stack.aclose()

    def send(self, user: str, text: str, **more: Any) -> Send:
        return Send(ROOM, getattr(self, user), user, text, None, **more)

    async def read(self, offset: int = 0) -> list[messages.MessageRow]:
        def changes(connection: Connection) -> list[messages.MessageRow]:
            room = rooms.by_name(connection, ROOM)
            assert room is not None
            found = changes_since(connection, room, room.epoch, offset)
            assert isinstance(found, list)
            return found

        return await self.database.query(changes)


async def play(place: Place, room: rooms.RoomRow, script: list[tuple[str, str, Any]]) -> Model:
    """Apply the script to the log and to the model, and compare the results."""
    model = Model()
    for action, user, what in script:
        if action == "send":
            model.send(user, what)
            written = await place.log.append(place.send(user, what))
            assert written.message.offset == written.message.changed == model.top
        elif action == "resume":
            assert [row.changed for row in await place.read(what)] == model.since(what)
        else:
            at = message_id(room.epoch, model.offsets[what] if what < len(model.offsets) else 999)
            change: Change[Written] = (
                Edit(ROOM, getattr(place, user), at, "edited", None)
                if action == "edit"
                else Delete(ROOM, getattr(place, user), at)
            )
            expected = model.change(user, what, "edited" if action == "edit" else None)
            [outcome] = await asyncio.gather(place.log.append(change), return_exceptions=True)
            assert type(outcome) is (expected or Written)
    return model


@pytest.mark.server
@given(st.lists(actions, max_size=25))
@settings(max_examples=30)
def test_any_order_of_sends_edits_deletions_and_resumes_is_what_the_model_says(
    script: list[tuple[str, str, Any]],
) -> None:
    async def story(folder: Path) -> None:
        place = Place(folder)
        room = await place.open()
        try:
            model = await play(place, room, script)
            rows = await place.read()
            assert [(row.sender, row.text or "", row.changed, row.deleted_at is not None) for row in rows] == [
                (said.sender, said.text, said.changed, said.deleted)
                for said in sorted(model.said, key=lambda said: said.changed)
            ]
            # A repeated deletion is published again, in case it was missed.
            assert list(dict.fromkeys(each.offset for each in place.published)) == list(range(1, model.top + 1))
        finally:
            await place.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    await place.open()
    yield place
    await place.close()


async def test_simultaneous_writers_share_a_commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    real = Database.run_script

    async def counted(database: Database, plan: Script[Any]) -> Any:
        nonlocal commits
        commits += 1
        return await real(database, plan)

    monkeypatch.setattr(Database, "run_script", counted)
    written = await asyncio.gather(*(place.log.append(place.send("alice", str(number))) for number in range(100)))
    assert [each.message.offset for each in written] == list(range(1, 101))
    assert 1 <= commits <= 3


async def test_one_change_that_breaks_the_transaction_fails_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new_values(row: messages.MessageRow) -> tuple[Any, ...]:
        # An offset that is in use: the unique key of the log itself refuses it.
        return real(replace(row, offset=1, changed=1) if row.text == "broken" else row)

    real = writes.new_values
    monkeypatch.setattr(writes, "new_values", new_values)
    await place.log.append(place.send("alice", "first"))
    texts = ["a", "b", "broken", "c"]
    results = await asyncio.gather(
        *(place.log.append(place.send("alice", text)) for text in texts), return_exceptions=True
    )
    assert [isinstance(result, Written) for result in results] == [True, True, False, True]
    assert isinstance(results[2], sqlite3.IntegrityError | asyncpg.UniqueViolationError)
    assert [row.text for row in await place.read()] == ["first", "a", "b", "c"]
    assert [row.offset for row in await place.read()] == [1, 2, 3, 4]


async def test_a_full_queue_refuses_at_once_and_nothing_that_it_took_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.log, "_max_waiting", 10)
    results = await asyncio.gather(
        *(place.log.append(place.send("alice", str(number))) for number in range(50)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, StoreUnavailable)]
    assert len(refused) == 40
    assert (refused[0].status, refused[0].retry_after_ms) == (50300, 1000)
    assert len(await place.read()) == 10
    await place.log.append(place.send("alice", "and on"))


async def test_the_same_client_id_twice_in_one_batch_is_stored_once(place: Place) -> None:
    first, second, other = await asyncio.gather(
        place.log.append(place.send("alice", "one", client_id="c")),
        place.log.append(place.send("alice", "two", client_id="c")),
        place.log.append(place.send("bob", "three", client_id="c")),
    )
    assert (first.unchanged, second.unchanged, other.unchanged) == (False, True, False)
    assert second.message == first.message
    assert len(await place.read()) == 2


async def test_a_message_with_a_commit_of_unknown_outcome_is_told_with_its_repeat(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        real = Database.run_script

        async def deaf(database: Database, plan: Script[Any]) -> Any:
            await real(database, plan)
            raise StoreUnavailable("store")

        monkeypatch.setattr(Database, "run_script", deaf)
        assert (await ann.refused("chat.send", room="lobby", text="hi", client_id="c"))["status"] == 50300
        monkeypatch.setattr(Database, "run_script", real)
        assert (await ann.ask("chat.send", room="lobby", text="hi", client_id="c"))["duplicate"]
        for client in (ann, ben):
            await client.expect("chat.message", offset=1, text="hi")
        assert (await ann.ask("chat.send", room="lobby", text="hi", client_id="c"))["duplicate"]
        for client in (ann, ben):
            await client.expect_nothing()


async def test_a_caller_that_stops_waiting_stops_no_other(place: Place) -> None:
    leaving = asyncio.create_task(place.log.append(place.send("alice", "left")))
    staying = asyncio.create_task(place.log.append(place.send("alice", "stayed")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).message.offset == 2
    assert [row.text for row in await place.read()] == ["left", "stayed"]


async def test_what_is_waiting_when_the_gateway_stops_is_written_and_nothing_more_is_taken(tmp_path: Path) -> None:
    place = Place(tmp_path)
    await place.open()
    waiting = [asyncio.create_task(place.log.append(place.send("alice", str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    await place.close()
    assert [(await each).message.offset for each in waiting] == list(range(1, 21))
    with pytest.raises(StoreUnavailable):
        await place.log.append(place.send("alice", "too late"))


@pytest.mark.usefixtures("fresh_faults")
async def test_one_that_has_no_reply_or_event_harms_no_other_writer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def event_or_fault(written: Written) -> Logged:
        if written.message.text == "cannot be told":
            raise ValueError("no event")
        return real(written)

    class Unanswerable(asyncio.Future[Written]):
        def set_result(self, _: Written) -> None:
            raise RuntimeError("cannot be answered")

    real = written_event
    monkeypatch.setattr("gateway.rooms.log.written_event", event_or_fault)
    place.log._waiting.append((place.send("alice", "cannot be answered"), Unanswerable(), 0.0))
    texts = ["a", "cannot be told", "b"]
    written = await asyncio.gather(*(place.log.append(place.send("alice", text)) for text in texts))
    assert [each.message.offset for each in written] == [2, 3, 4]
    await asyncio.wait_for(place.log.append(place.send("bob", "and on")), 5)
    await until(lambda: [event.offset for event in place.published] == [1, 2, 4, 5])
    assert faults.counters == {"writes": 2}


@pytest.mark.usefixtures("fresh_faults")
async def test_the_writer_goes_on_after_any_end_of_a_commit_and_no_sender_waits_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_too_few(database: Database, plan: Script[Any]) -> Any:
        return (await real(database, plan))[1:]

    real = Database.run_script
    monkeypatch.setattr(Database, "run_script", answer_too_few)
    results = await asyncio.wait_for(
        asyncio.gather(*(place.log.append(place.send("alice", text)) for text in "abc"), return_exceptions=True), 5
    )
    assert isinstance(results[2], ValueError)
    monkeypatch.setattr(Database, "run_script", real)
    assert (await asyncio.wait_for(place.log.append(place.send("alice", "d")), 5)).message.offset == 4
    assert faults.counters == {"writes": 1}
