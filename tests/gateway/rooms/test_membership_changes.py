"""Memberships in the log's batches: many share a commit, and each comes to what it would have come to alone."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from gateway.bus.base import BusEvent, Logged, MemberJoined, MemberLeft
from gateway.bus.memory import MemoryBus
from gateway.rooms import changes
from gateway.rooms.batch import Change, Deferred
from gateway.rooms.changes import NO_LIMITS, Limits
from gateway.rooms.log import Log
from gateway.rooms.membership_changes import Create, Enter, Entered, Leave, Made, MarkRead, RoomQuotas
from gateway.rooms.message_changes import Send, Written
from gateway.store import rooms, tables
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.prepared import Script
from gateway.store.users import UserRow, add_all
from gateway.testing import MovableClock
from handlers.errors import MessageError, NotAMember, NotFound, QuotaExceeded
from tests.conftest import OwnGateway
from tests.gateway.rooms.nodes import running_nodes
from tests.support.client import App
from tests.support.users import add_users
from tests.support.waiting import until


class Node:
    """A log with its own connections to the store, and the events that it publishes."""

    def __init__(self, database: Database, limits: Limits = NO_LIMITS) -> None:
        self.database = database
        self.bus = MemoryBus()
        self.events: list[BusEvent] = []
        self.commits = 0
        self.log = Log(database, self.bus, MovableClock(), max_waiting=5000, limits=limits)

    def receive(self, event: BusEvent) -> int:
        """Note an event."""
        self.events.append(event)
        return 3

    async def all(self, *wanted: Change[Any]) -> list[Any]:
        """Ask for all changes at the same moment, and return the result or the error of each."""
        return await asyncio.gather(*map(self.log.append, wanted), return_exceptions=True)


@asynccontextmanager
async def running(store_url: str, count: int = 1, limits: Limits = NO_LIMITS) -> AsyncIterator[list[Node]]:
    """Start nodes on one store."""
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(count):
            database = await stack.enter_async_context(Database(store_url))
            node = Node(database, limits)
            await node.bus.start(node.receive, lambda _: None, lambda _: None)
            await stack.enter_async_context(node.log.running())
            nodes.append(node)
        yield nodes


async def people(node: Node, *names: str) -> list[UserRow]:
    return await node.database.transact(partial(add_users, names=names))


async def members(node: Node, room: str) -> dict[str, str]:
    """Return the members of a room, each with its role."""

    def read(connection: Connection) -> dict[str, str]:
        found = rooms.by_name(connection, room)
        if found is None:
            return {}
        table = tables.memberships
        query = select(table.c.user_name, table.c.role).where(table.c.room_id == found.id)
        here = {row.user_name: row.role for row in connection.execute(query)}
        assert found.members == len(here)
        return here

    return await node.database.query(read)


def kinds(outcomes: Sequence[object]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of changes of each commit."""
    commits: list[int] = []
    real = changes.apply

    def counted(wanted: Sequence[Change[Any]], *rest: Any) -> Script[list[Any]]:
        commits.append(len(wanted))
        return real(wanted, *rest)

    monkeypatch.setattr(changes, "apply", counted)
    return commits


async def test_a_thousand_newcomers_at_once_share_a_few_commits(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store_url) as [node]:
        users = await people(node, *(f"user-{number}" for number in range(1000)))
        commits = counting(monkeypatch)
        entered = await node.all(*(Enter("lobby", user.id, user.name) for user in users))
        assert len(commits) <= 3
        assert [(each.room.arrivals, each.is_new) for each in entered] == [(number, True) for number in range(1, 1001)]
        assert Counter((await members(node, "lobby")).values()) == {"owner": 1, "member": 999}
        assert [event.arrivals for event in node.events if isinstance(event, MemberJoined)] == list(range(1, 1001))
        assert {each.heard for each in entered} == {3}

        again = await node.all(*(Enter("lobby", user.id, user.name) for user in users[:10]))
        assert [(each.room.arrivals, each.is_new) for each in again] == [(1000, False)] * 10
        left = await node.all(*(Leave("lobby", user.id, user.name) for user in users[1:]))
        assert [each.departures for each in left] == list(range(1, 1000))
        assert len(commits) <= 6
        assert await members(node, "lobby") == {"user-0": "owner"}


async def test_each_change_of_a_batch_sees_the_results_of_those_before(store_url: str) -> None:
    async with running(store_url) as [node]:
        ann, ben, cat = await people(node, "ann", "ben", "cat")
        outcomes = await node.all(
            Send("attic", ann.id, "ann", "too early", None),
            MarkRead("attic", ann.id, 0),
            Create("attic", ann.id, "ann", "Attic"),
            Create("attic", ben.id, "ben", "Mine"),
            Send("attic", ben.id, "ben", "not yet", None),
            Enter("attic", ben.id, "ben"),
            Send("attic", ben.id, "ben", "hi", None),
            Enter("attic", cat.id, "cat"),
            MarkRead("attic", cat.id, 1),
            MarkRead("attic", ben.id, 1),
            Leave("attic", cat.id, "cat"),
            MarkRead("attic", cat.id, 1),
            Leave("attic", cat.id, "cat"),
            Enter("attic", cat.id, "cat"),
        )
        names = [type(outcome).__name__ for outcome in outcomes]
        assert names == [
            *("NotFound", "NotFound", "Made", "Conflict", "NotAMember", "Entered", "Written"),
            *("Entered", "Marked", "Marked", "Departure", "NotAMember", "Departure", "Entered"),
        ]
        assert [(outcome.room.offset, outcome.room.arrivals) for outcome in outcomes if type(outcome) is Entered] == [
            (0, 2),
            (1, 3),
            (1, 4),
        ]
        assert [outcomes[index].is_further for index in (8, 9)] == [False, True]  # a new member has read all so far
        assert outcomes[12].room.role is None  # she had left already, and nothing was to be done
        assert await members(node, "attic") == {"ann": "owner", "ben": "member", "cat": "member"}
        assert [type(event) for event in node.events] == [MemberJoined, Logged, MemberJoined, MemberLeft, MemberJoined]


async def test_a_change_that_follows_the_end_of_its_room_belongs_to_the_next_one(store_url: str) -> None:
    async with running(store_url) as [node]:
        ann, ben = await people(node, "ann", "ben")
        made, left, refused, anew, second = await node.all(
            Create("attic", ann.id, "ann", private=True),
            Leave("attic", ann.id, "ann"),
            Send("attic", ann.id, "ann", "to whom?", None),
            Create("attic", ben.id, "ben"),
            Enter("attic", ann.id, "ann"),
        )
        assert left.has_ended
        assert type(refused) is NotFound
        assert made.room.epoch != anew.room.epoch == second.room.epoch
        assert await members(node, "attic") == {"ben": "owner", "ann": "member"}


async def test_the_first_that_may_make_a_room_makes_it_and_a_refused_one_leaves_none(store_url: str) -> None:
    async with running(store_url, limits=Limits(rooms=RoomQuotas(owned=1), rooms_open=True)) as [node]:
        ann, ben = await people(node, "ann", "ben")
        outcomes = await node.all(
            Create("anns", ann.id, "ann"),
            Create("attic", ann.id, "ann"),
            Enter("cellar", ann.id, "ann"),
            Create("attic", ben.id, "ben", "Attic"),
            Create("ghosts", "nobody", "nobody"),
            Enter("dm-x", ben.id, "ben"),
        )
        names = [type(outcome).__name__ for outcome in outcomes]
        assert names == ["Made", "QuotaExceeded", "QuotaExceeded", "Made", "NotFound", "Forbidden"]
        assert outcomes[3].room.title == "Attic"

        def found(connection: Connection) -> list[str]:
            return sorted(connection.execute(select(tables.rooms.c.name)).scalars())

        assert await node.database.query(found) == ["anns", "attic"]


async def test_one_change_that_breaks_the_transaction_hurts_no_other(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store_url) as [node]:
        ann, ben, cat = await people(node, "ann", "ben", "cat")
        outcomes = await node.all(
            Enter("lobby", ann.id, "ann"),
            Create("broken", ben.id, "ben", "\ud800"),  # no text in any encoding
            Send("lobby", ann.id, "ann", "hi", None),
            Enter("lobby", cat.id, "cat"),
        )
        broken = outcomes.pop(1)
        assert isinstance(broken, Exception)
        assert not isinstance(broken, MessageError)
        assert kinds(outcomes) == [Entered, Written, Entered]
        assert await members(node, "lobby") == {"ann": "owner", "cat": "member"}
        assert await members(node, "broken") == {}


async def test_a_user_enters_no_more_rooms_than_allowed_however_many_at_once_and_on_two_nodes(store_url: str) -> None:
    quotas = RoomQuotas(joined=5, owned=3)
    async with running(store_url, 2, Limits(rooms=quotas)) as nodes:
        ann, ben = await people(nodes[0], "ann", "ben")
        wanted = [Create(f"room-{number}", ann.id, "ann") for number in range(10)]
        made = await asyncio.gather(*(node.all(*wanted[index::2]) for index, node in enumerate(nodes)))
        assert Counter(kinds([*itertools.chain(*made)])) == {Made: 3, QuotaExceeded: 7}
        await nodes[0].all(*(Create(f"bens-{number}", ben.id, "ben") for number in range(3)))
        enters = [Enter(f"bens-{number}", ann.id, "ann") for number in range(3)]
        entered = await asyncio.gather(*(node.all(*enters) for node in nodes))
        assert sum(type(each) is Entered and each.is_new for each in itertools.chain(*entered)) == 2
        rest = [type(each) for each in itertools.chain(*entered) if type(each) is not Entered]
        assert rest == [QuotaExceeded, QuotaExceeded]


async def test_a_newcomer_that_vanishes_while_its_membership_is_written_is_a_member_and_announced(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, held = asyncio.Event(), asyncio.Event()
    real = Database.run_script

    async def hold(database: Database, script: Script[Any]) -> Any:
        begun.set()
        await held.wait()
        return await real(database, script)

    async with running(store_url) as [node]:
        ann, ben = await people(node, "ann", "ben")
        await node.log.append(Create("lobby", ann.id, "ann"))
        monkeypatch.setattr(Database, "run_script", hold)
        joining = asyncio.create_task(node.log.append(Enter("lobby", ben.id, "ben")))
        await asyncio.wait_for(begun.wait(), 5)
        joining.cancel()
        held.set()
        await until(lambda: [type(event) for event in node.events] == [MemberJoined])
        assert await members(node, "lobby") == {"ann": "owner", "ben": "member"}


async def test_many_that_join_for_the_first_time_and_vanish_leave_a_true_count(own_gateway: OwnGateway) -> None:
    names = [f"user-{number}" for number in range(12)]
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann:
        ann.ignored |= {"room.joined"}
        async with AsyncExitStack() as stack:
            for client in [await stack.enter_async_context(app.connect(name)) for name in names]:
                await client.start("room.join", room="lobby")
                client.ws.transport.abort()

        async def all_are_counted() -> bool:
            count: int = (await ann.ask("room.join", room="lobby"))["members"]
            listed = (await ann.ask("room.members", room="lobby"))["members"]
            return len(listed) == count

        await until(all_are_counted)


async def test_a_membership_that_ends_between_its_batch_and_the_reply_leaves_no_listener(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben") as nodes:
        nodes.air.is_clear = True
        ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
        await ann.rooms.create("lobby", title=None, private=False)
        await ann.join("lobby")
        real = Log.append

        async def kicked_at_once(log: Log, change: Change[Any]) -> Any:
            outcome = await real(log, change)
            if isinstance(change, Enter):
                await ann.rooms.kick("lobby", "ben")
            return outcome

        monkeypatch.setattr(Log, "append", kicked_at_once)
        with pytest.raises(NotAMember):
            await ben.join("lobby")
        await ann.say("lobby")
        assert "lobby" not in ben.joined
        assert [kind for kind, _ in ben.kinds() if kind == "chat.message"] == []
        assert ben.mistakes == []
        monkeypatch.setattr(Log, "append", real)
        assert (await ben.join("lobby")).members == 2


ROOMS = ("lobby", "attic", "cellar")


def anything(fate: random.Random, users: Sequence[UserRow]) -> Change[Any]:
    """Return a change that may do anything."""
    room, user = fate.choice(ROOMS), fate.choice(users)
    return fate.choice(
        [
            Create(room, user.id, user.name, private=fate.random() < 0.3),
            *[Enter(room, user.id, user.name)] * 4,
            *[Leave(room, user.id, user.name)] * 3,
            Send(room, user.id, user.name, "hi", None),
            MarkRead(room, user.id, fate.randrange(4)),
        ]
    )


def state_of(connection: Connection) -> list[Any]:
    """Return the rooms with their members, without what is made at random."""
    table, here = tables.rooms, tables.memberships
    columns = (table.c.name, table.c.private, table.c.offset, table.c.arrivals, table.c.departures, table.c.left_by)
    query = select(table.c.id, *columns).where(table.c.removed_at.is_(None)).order_by(table.c.name)
    state = []
    for room_id, *values in connection.execute(query):
        found = select(here.c.user_name, here.c.read).where(here.c.room_id == room_id).order_by(here.c.user_name)
        listed = connection.execute(found).all()
        owners = select(func.count()).where(here.c.room_id == room_id, here.c.role == "owner")
        assert values[3] - values[4] == len(listed)
        assert (connection.execute(owners).scalar_one() > 0) == (len(listed) > 0)
        state.append((*values, [tuple(row) for row in listed]))
    return state


async def apply_all(database: Database, wanted: Sequence[Change[Any]], limits: Limits) -> list[Any]:
    """Apply changes in one transaction, and those that it defers in further ones."""
    outcomes = await database.run_script(changes.apply(wanted, 1, limits))
    later = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Deferred)]
    assert len(later) < len(wanted)
    if later:
        more = await apply_all(database, [wanted[index] for index in later], limits)
        for index, outcome in zip(later, more, strict=True):
            outcomes[index] = outcome
    return outcomes


@pytest.mark.parametrize("seed", range(3))
async def test_a_batch_comes_to_what_its_changes_come_to_one_by_one(
    database: Database, tmp_path: Path, seed: int
) -> None:
    fate = random.Random(seed)
    limits = Limits(rooms_open=seed % 2 == 0)
    users = await database.transact(partial(add_users, names=("ann", "ben", "cat", "dan")))
    async with Database(f"sqlite:///{tmp_path / 'apart.db'}", synchronous="NORMAL") as apart:
        await apart.upgrade()
        await apart.transact(partial(add_all, rows=users))
        for _ in range(60):
            wanted = [anything(fate, users) for _ in range(fate.randrange(1, 9))]
            expected = [(await apply_all(apart, [change], limits))[0] for change in wanted]
            assert kinds(await apply_all(database, wanted, limits)) == kinds(expected), wanted
            assert await database.query(state_of) == await apart.query(state_of), wanted


async def test_two_nodes_never_wait_for_each_other(store_url: str) -> None:
    fate = random.Random(1)
    async with running(store_url, 2, Limits(rooms=RoomQuotas(joined=2, owned=2))) as nodes:
        users = await people(nodes[0], *(f"user-{number}" for number in range(12)))
        for _ in range(25):
            wanted = [[anything(fate, users) for _ in range(20)] for _ in nodes]
            outcomes = await asyncio.gather(*(node.all(*some) for node, some in zip(nodes, wanted, strict=True)))
            for outcome in itertools.chain(*outcomes):
                assert not isinstance(outcome, StoreUnavailable)
                assert not isinstance(outcome, Exception) or isinstance(outcome, MessageError)
            await nodes[0].database.query(state_of)
