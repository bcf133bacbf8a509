"""Real failures of the store: senders get 50300, the gateway recovers, and nothing acknowledged is lost."""

import asyncio
import itertools
import resource
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.store import engine, open_files, write_health
from gateway.store.engine import Database
from gateway.store.postgresql import POOL_SIZE, Postgresql
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame
from tests.support.disk import SmallDisk, small_disk
from tests.support.lacking import Unavailable, lacking
from tests.support.metrics import metrics_of
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.waiting import until

pytestmark = pytest.mark.server

PATIENCE = 20


class Talker:
    """Sends one message after another, and repeats each, with its `client_id`, until it is acknowledged."""

    def __init__(self, client: ChatClient, name: str) -> None:
        self._client = client
        self._name = name
        self._moved = asyncio.Event()
        self.acknowledged: dict[int, str] = {}
        self.heard: list[int] = []
        self.statuses: Counter[int] = Counter()

    async def talk(self) -> None:
        """Send without end."""
        for number in itertools.count(1):
            text = f"{self._name} {number}"
            while (answer := await self._send(text))["status"] != 20000:
                assert (answer["name"], answer["retryable"]) == ("unavailable", True)
                await asyncio.sleep(0.01)
            self.acknowledged[answer["data"]["message"]["offset"]] = text

    async def listen_up_to(self, offset: int) -> None:
        """Take what is still on its way."""
        while not self.heard or self.heard[-1] < offset:
            self._note(await self._client.next())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the answers so far meet a condition."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def until_more(self, status: int, count: int) -> None:
        """Wait for so many more answers of a kind."""
        enough = self.statuses[status] + count
        await self.until(lambda: self.statuses[status] >= enough)

    async def _send(self, text: str) -> Frame:
        id = await self._client.start("chat.send", room="lobby", text=text, client_id=text)
        while (frame := await self._client.next()).get("id") != id:
            self._note(frame)
        self.statuses[frame["status"]] += 1
        self._moved.set()
        return frame

    def _note(self, frame: Frame) -> None:
        if frame["type"] == "chat.message":
            self.heard.append(frame["data"]["offset"])


async def whole_log(client: ChatClient) -> dict[int, str]:
    """Read the lobby's log, from the oldest message to the newest."""
    log: dict[int, str] = {}
    while True:
        page = (await client.ask("chat.history", room="lobby", after=max(log, default=0), limit=100))["messages"]
        if not page:
            return log
        log |= {message["offset"]: message["text"] for message in page}


async def readiness(app: App) -> tuple[int, str]:
    answer = await app.http.get("/readyz")
    return answer.status_code, answer.json()["store"]


async def is_ready(app: App) -> bool:
    return await readiness(app) == (200, "up")


async def expect_unavailable(client: ChatClient, text: str) -> None:
    error = await client.refused("chat.send", room="lobby", text=text)
    assert (error["status"], error["name"], error["retryable"]) == (50300, "unavailable", True)
    assert error["retry_after_ms"] == 1000


@pytest.fixture
def stoppable() -> Iterator[Postgres]:
    """A PostgreSQL that this test may stop; it waits for the disk, as a production server does."""
    with running_postgres(sync=True) as postgres:
        yield postgres


@pytest.fixture
def on_stoppable(stoppable: Postgres, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that stores in that PostgreSQL."""
    with fresh_database(stoppable.url("postgres")) as url:
        try:
            with running_gateway(settings_for_tests(tmp_path, database_url=url)) as running:
                yield running
        finally:
            stoppable.thaw()


async def test_postgresql_crashes_and_comes_back_under_load_and_nothing_acknowledged_is_lost(
    on_stoppable: Gateway, stoppable: Postgres
) -> None:
    names = ["alice", "bob", "carol", "dave"]
    async with App(on_stoppable) as app, AsyncExitStack() as stack, asyncio.timeout(3 * PATIENCE):
        clients = [await stack.enter_async_context(app.in_room(name, "lobby")) for name in names]
        talkers = [Talker(client, name) for client, name in zip(clients, names, strict=True)]
        talking = [asyncio.create_task(talker.talk()) for talker in talkers]
        for _ in range(3):
            await asyncio.gather(*(talker.until_more(20000, 20) for talker in talkers))
            stoppable.stop()
            await asyncio.gather(*(talker.until_more(50300, 2) for talker in talkers))
            stoppable.start()
        await asyncio.gather(*(talker.until_more(20000, 20) for talker in talkers))
        for task in talking:
            task.cancel()
        await asyncio.wait(talking)
        assert [task.cancelled() for task in talking] == [True] * len(names)
        assert {status for talker in talkers for status in talker.statuses} == {20000, 50300}

        async with app.in_room("eve", "lobby") as eve:
            last = await eve.say("lobby", "the last word")
            log = await whole_log(eve)
        assert list(log) == list(range(1, last["offset"] + 1))
        assert max(Counter(log.values()).values()) == 1  # nothing was said twice, however often it was sent
        for talker in talkers:
            assert talker.acknowledged.items() <= log.items()
            await talker.listen_up_to(last["offset"])
            assert talker.heard == list(range(talker.heard[0], last["offset"] + 1))


async def test_after_postgresql_was_restarted_no_message_pays_for_the_old_connections(
    on_stoppable: Gateway, stoppable: Postgres
) -> None:
    async with App(on_stoppable) as app, app.in_room("alice", "lobby") as client:
        database = on_stoppable.state.database

        async def use_all_connections() -> None:
            await asyncio.gather(*(database.ping() for _ in range(4 * POOL_SIZE)))

        for number in range(3):
            await on_stoppable.run(use_all_connections())
            stoppable.stop()
            stoppable.start()
            await client.say("lobby", str(number))
            await on_stoppable.run(use_all_connections())


async def test_a_postgresql_that_hangs_is_given_up_within_seconds_and_used_again_when_it_goes_on(
    on_stoppable: Gateway, stoppable: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
    async with App(on_stoppable) as app, app.in_room("alice", "lobby") as client:
        stoppable.freeze()
        assert (await client.refused("chat.history", room="lobby"))["status"] == 50300
        await expect_unavailable(client, "to a hung server")
        ready = await app.http.get("/readyz")
        assert (ready.status_code, ready.json()["store"]) == (503, "down")
        stoppable.thaw()
        monkeypatch.setattr(engine, "BUSY_SECONDS", 5)
        assert (await client.ask("chat.send", room="lobby", text="after it"))["message"]["text"] == "after it"
        assert (await app.http.get("/readyz")).status_code == 200


async def test_a_node_that_vanishes_in_the_middle_of_a_transaction_holds_up_no_message_of_others_for_long(
    on_stoppable: Gateway, stoppable: Postgres
) -> None:
    async with App(on_stoppable) as app, app.in_room("alice", "lobby") as client:
        await client.say("lobby", "before")
        vanished = await Postgresql(on_stoppable.settings.database_url or "", 1.0).connect()
        try:
            await vanished.execute("BEGIN")
            await vanished.execute("UPDATE rooms SET title = title")
            await client.say("lobby", "this one waits, and is not refused")
        finally:
            vanished.terminate()


async def test_work_without_a_limit_may_be_silent_for_longer(stoppable: Postgres) -> None:
    def asks(connection: Connection) -> str:
        return str(connection.scalar(text("SHOW idle_in_transaction_session_timeout")))

    with fresh_database(stoppable.url("postgres")) as url:
        database = Database(url)
        try:
            assert await database.transact(asks) == "4s"
            assert await database.transact(asks, limited=False) == "1min"
            assert await database.transact(asks) == "4s"
        finally:
            await database.close()


async def test_while_another_process_holds_the_database_messages_are_refused_and_then_accepted_again(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        other = sqlite3.connect(gateway.settings.data_dir / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await expect_unavailable(client, "lost?")
        assert await client.ask("chat.history", room="lobby") == {"messages": [], "has_more": False}
        other.execute("ROLLBACK")
        other.close()
        assert (await client.say("lobby", "kept"))["offset"] == 1


async def test_while_another_process_holds_the_database_the_gateway_is_not_ready(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)
    monkeypatch.setattr(write_health, "PROBE_SECONDS", 0.1)
    gateway = own_gateway()
    async with App(gateway) as app:
        other = sqlite3.connect(gateway.settings.data_dir / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            for _ in range(2):
                assert await readiness(app) == (503, "down")
            assert (await metrics_of(app))["gateway_store_writable"] == 0
            assert (await app.http.get("/healthz")).status_code == 200
        finally:
            other.execute("ROLLBACK")
            other.close()
        await until(lambda: is_ready(app))
        assert (await metrics_of(app))["gateway_store_writable"] == 1


def delete(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.replace(file)


def lose_the_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("lose", "name"),
    [
        (delete, "gateway.db"),
        (delete, "gateway.db-wal"),
        (replace, "gateway.db"),
        (replace, "gateway.db-wal"),
        (lose_the_folder, "gateway.db"),
    ],
)
async def test_nothing_is_accepted_for_a_file_that_is_no_longer_there(
    lose: Callable[[Path], None], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    settings = settings_for_tests(tmp_path, database_url=f"sqlite:///{folder / 'gateway.db'}")
    with running_gateway(settings) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby") as client:
            await client.say("lobby", "kept")
            lose(folder / name)
            await expect_unavailable(client, "lost?")
            assert await readiness(app) == (503, "down")
            assert (await app.log_in("alice")).status_code == 503
            assert (await metrics_of(app))["gateway_store_writable"] == 0
            assert "while it was open; restart the gateway" in caplog.text


async def test_a_file_that_comes_back_is_written_to_again(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)
    gateway = own_gateway()
    file = gateway.settings.data_dir / "gateway.db"
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        file.rename(file.with_name("away"))
        await expect_unavailable(client, "lost?")
        assert await readiness(app) == (503, "down")
        file.with_name("away").rename(file)
        assert await readiness(app) == (200, "up")
        assert (await client.say("lobby", "kept"))["offset"] == 1


async def test_a_disk_with_next_to_no_room_is_not_ready(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)
    gateway = own_gateway()
    async with App(gateway) as app:
        assert await readiness(app) == (200, "up")
        monkeypatch.setattr(open_files, "MIN_FREE_BYTES", 2**63)
        assert await readiness(app) == (503, "down")


async def test_who_leaves_while_the_store_is_away_is_known_to_have_been_there_once_it_is_back(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
    monkeypatch.setattr("gateway.rooms.last_seen.GATHER_SECONDS", 0.05)
    monkeypatch.setattr("gateway.rooms.last_seen.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 1)
    gateway = own_gateway()
    async with App(gateway) as app:

        async def is_registered() -> bool:
            # What looks at the store at the start is in the way, since no statement waits for another.
            return (await app.register("alice")).status_code in {201, 409}

        await until(is_registered)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        async with app.connect("bob") as bob:
            came: str = bob.welcome["server_time"]
            other = sqlite3.connect(gateway.settings.data_dir / "gateway.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")

        async def bob_is() -> dict[str, str]:
            seen: dict[str, str] = (await client.ask("presence.get", users=["bob"]))["users"][0]
            return seen

        async def is_gone() -> bool:
            return (await bob_is())["state"] == "offline"

        async def is_remembered() -> bool:
            return came <= (await bob_is()).get("last_seen", "")

        await until(is_gone)
        assert not await is_remembered()
        other.execute("ROLLBACK")
        other.close()
        await until(is_remembered)


class NoLargerFiles:
    """A limit on the size of this process's files: without root, nothing is closer to a full disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Let the database's log grow no further."""
        size = (self.folder / "gateway.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self._limits[1]))

    def make_room(self) -> None:
        """Let it grow again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@contextmanager
def any_small_disk(folder: Path) -> Iterator[SmallDisk]:
    try:
        with small_disk(folder) as disk:
            yield disk
    except Unavailable as missing:
        lacking(str(missing))


@contextmanager
def no_larger_files(folder: Path) -> Iterator[NoLargerFiles]:
    disk = NoLargerFiles(folder)
    try:
        yield disk
    finally:
        disk.make_room()


@pytest.mark.parametrize("kind", [any_small_disk, no_larger_files])
async def test_while_the_disk_is_full_messages_are_refused_and_then_accepted_again(
    kind: Callable[[Path], AbstractContextManager[SmallDisk | NoLargerFiles]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)
    folder = tmp_path / "disk"
    folder.mkdir()
    with kind(folder) as disk, running_gateway(settings_for_tests(folder)) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby") as client:
            message = await client.say("lobby", "before")
            said = {1: message["text"]}
            piece = {"room": "lobby", "message_id": message["id"], "text": "x" * 4000}
            for offset in (2, 3):
                disk.fill()
                # Small ones may still fit into what the database has in hand; large ones cannot.
                for _ in range(2):
                    error = await client.refused("chat.send", room="lobby", body="x" * 60_000)
                    assert (error["status"], error["name"]) == (50300, "unavailable")
                numbers = [await client.start("chat.append", **piece) for _ in range(8)]
                for number in numbers:
                    error = await client.until(id=number)
                    assert (error["status"], error["retryable"]) == (50300, True)
                assert await readiness(app) == (503, "down")
                assert await whole_log(client) == said
                disk.make_room()
                await until(lambda: is_ready(app))
                said[offset] = (await client.say("lobby", f"after {offset}"))["text"]
        with sqlite3.connect(folder / "gateway.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
