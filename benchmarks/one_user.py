"""Measures the share of a core that one user can take within the default limits: `python -m benchmarks.one_user`.

One user plays each load on two connections, as fast as the limits allow, against its own gateway. A share counts all
of the server's threads, after the user has spent its burst.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import Connection, insert, update

from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import (
    Person,
    Server,
    StoreKind,
    cpu_seconds,
    database_for,
    populate,
    store_url,
    temporary_folder,
)
from gateway.config.settings import PREFIX, Settings
from gateway.store.tables import memberships, messages, rooms, users

CONNECTIONS = 2
IN_FLIGHT = 4
"""Unanswered messages of each connection."""
STRANGERS = 100
LIMITS = (
    *("message_rate", "message_rate_per_user", "message_rate_per_address", "write_bytes_per_user"),
    *("join_rate", "join_rate_per_user", "connection_rate", "connection_rate_per_user"),
)
LONG = "x" * 64_000
RATE_LIMITED = 42900
CHUNK = 10_000


@dataclass(frozen=True)
class Sizes:
    """The amount of data in the store."""

    members: int
    private_rooms: int
    unread_rooms: int
    unread: int
    long_messages: int


@dataclass(frozen=True)
class Load:
    """A request that a user repeats."""

    name: str
    prepare: Callable[["Store"], None]
    text: bytes


class Store:
    """The rooms and messages of a load."""

    def __init__(self, connection: Connection, user: Person, other: Person, sizes: Sizes) -> None:
        self.connection = connection
        self.user = user
        self.other = other
        self.sizes = sizes

    def rooms(self, names: Sequence[str], *, private: bool = False, owner: Person | None = None) -> None:
        """Add rooms with one member."""
        owner = owner or self.user
        rows = [
            {
                "id": number,
                "name": name,
                "private": private,
                "epoch": "epoch",
                "offset": 0,
                "created_at": 0,
                "arrivals": 1,
            }
            for number, name in enumerate(names, 1)
        ]
        for some in _chunks(rows):
            self.connection.execute(insert(rooms), some)
            self.members([(row["id"], row["name"], owner.id, owner.name) for row in some])

    def members(self, rows: Sequence[tuple[int, str, str, str]]) -> None:
        """Add memberships, each of a room's number and name and a user's id and name."""
        self.connection.execute(
            insert(memberships),
            [
                {
                    "room_id": room_id,
                    "user_id": user_id,
                    "role": "member",
                    "joined_at": 0,
                    "user_name": user,
                    "room_name": room,
                }
                for room_id, room, user_id, user in rows
            ],
        )

    def crowd(self, room_id: int, room: str) -> None:
        """Add many users to one room."""
        people = [{**_NOBODY, "id": f"{number:032x}", "name": f"m{number:06d}"} for number in range(self.sizes.members)]
        for some in _chunks(people):
            self.connection.execute(insert(users), some)
            self.members([(room_id, room, person["id"], person["name"]) for person in some])
        arrivals = rooms.c.arrivals + self.sizes.members
        self.connection.execute(update(rooms).where(rooms.c.id == room_id).values(arrivals=arrivals))

    def say(self, room_id: int, count: int, **content: Any) -> None:
        """Add `count` messages of the other user."""
        said = {"room_id": room_id, "sender_id": self.other.id, "sent_at": 0, **content}
        self.connection.execute(
            insert(messages), [{**said, "offset": offset, "changed": offset} for offset in range(1, count + 1)]
        )
        self.connection.execute(update(rooms).where(rooms.c.id == room_id).values(offset=count))


_NOBODY = {"password_hash": "!", "scopes": "", "disabled": False, "created_at": 0}


def _chunks(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _one_room(store: Store) -> None:
    store.rooms(["here"])


def _a_crowd(store: Store) -> None:
    store.rooms(["here"])
    store.crowd(1, "here")


def _unread(store: Store) -> None:
    store.rooms([f"room-{number:03d}" for number in range(store.sizes.unread_rooms)])
    for number in range(1, store.sizes.unread_rooms + 1):
        store.say(number, store.sizes.unread, text="hello")


def _long_messages(store: Store) -> None:
    store.rooms(["here"])
    store.say(1, store.sizes.long_messages, body=LONG)


MISSED = 310
"""More messages than a resume brings."""

MANY = [f"many-{number:03d}" for number in range(128)]


def _many_rooms(store: Store) -> None:
    store.rooms(MANY)


def _rooms_far_behind(store: Store) -> None:
    store.rooms(MANY)
    for number in range(1, len(MANY) + 1):
        store.say(number, MISSED, text="hello")


def _rooms_of_long_messages(store: Store) -> None:
    store.rooms(MANY[:8])
    for number in range(1, 9):
        store.say(number, 3, body=LONG)


def _private_rooms(store: Store) -> None:
    names = [f"private-{number:06d}" for number in range(store.sizes.private_rooms)]
    store.rooms(names, private=True, owner=store.other)


def _asks(type: str, **data: Any) -> bytes:
    return json.dumps({"type": type, "id": 1, "data": data}).encode()


def _nested(size: int = 64_000, levels: int = 25) -> Any:
    one: Any = []
    for _ in range(levels):
        one = [one]
    return [one] * (size // (3 * levels))


_KEYS = {f"{number:x}": 1 for number in range(6000)}

LOADS = (
    Load("one member of a crowd", _a_crowd, _asks("room.members", room="here", limit=1)),
    Load("rooms with unread messages", _unread, _asks("room.list", limit=100)),
    Load("a page of long messages", _long_messages, _asks("chat.history", room="here", limit=100)),
    Load(
        "a resume over long messages",
        _long_messages,
        _asks("room.join", room="here", since={"epoch": "epoch", "offset": 0}),
    ),
    Load("a resume of 128 rooms", _many_rooms, _asks("room.resume", rooms=[{"room": name} for name in MANY])),
    Load(
        "a resume of 128 rooms, far behind in each",
        _rooms_far_behind,
        _asks("room.resume", rooms=[{"room": name, "since": {"epoch": "epoch", "offset": 0}} for name in MANY]),
    ),
    Load(
        "a resume of rooms with long messages",
        _rooms_of_long_messages,
        _asks("room.resume", rooms=[{"room": name} for name in MANY[:8]]),
    ),
    Load("messages nested deeply", _one_room, _asks("echo", deep=_nested())),
    Load("messages of many keys", _one_room, _asks("echo", **_KEYS)),
    Load("messages of many wrong keys", _one_room, _asks("chat.send", **_KEYS)),
    Load("long messages sent", _one_room, _asks("chat.send", room="here", body=LONG)),
    Load("pings", _one_room, _asks("ping")),
    Load("rooms, next to another's private ones", _private_rooms, _asks("room.list")),
)


@dataclass(frozen=True)
class Found:
    """The cost of a load to the server."""

    name: str
    share: float
    """The share of a core."""
    answered: float
    """Messages a second within the rate."""
    each: float
    """Milliseconds of CPU for each of them."""
    stored: float
    """Bytes a second that the store grows."""


async def measure(load: Load, sizes: Sizes, warm: float, seconds: float) -> Found:
    """Play a load, and measure its cost."""
    user, other = Person("user"), Person("other")

    async def prepare(folder: Path, url: str) -> None:
        database = database_for(url)
        await populate(database, [user, other], {})
        await database.transact(lambda connection: load.prepare(Store(connection, user, other, sizes)))
        await database.close()

    async with _server(prepare) as (server, pid):
        players = [Player(load.text) for _ in range(CONNECTIONS)]
        for player in players:
            await ws_connect(lambda: player, server.url(user.token))  # noqa: B023 - awaited before the next one
        return await _watch(load.name, pid, server.folder, players, warm, seconds)


@asynccontextmanager
async def _server(prepare: Callable[[Path, str], Awaitable[None]]) -> AsyncIterator[tuple[Server, int]]:
    limits = {f"{PREFIX}{name.upper()}": str(Settings.model_fields[name].default) for name in LIMITS}
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        await prepare(folder, url)
        server = Server(folder, url, **limits)
        async with server.running() as pid:
            yield server, pid


async def _watch(
    name: str, pid: int, folder: Path, players: "Sequence[Player | Stranger]", warm: float, seconds: float
) -> Found:
    await asyncio.sleep(warm)
    began, cpu, size = time.perf_counter(), cpu_seconds(pid), _size(folder)
    before = sum(player.answered for player in players)
    await asyncio.sleep(seconds)
    taken = time.perf_counter() - began
    used, answered = cpu_seconds(pid) - cpu, sum(player.answered for player in players) - before
    return Found(name, used / taken, answered / taken, 1000 * used / max(1, answered), (_size(folder) - size) / taken)


def _size(folder: Path) -> int:
    return (folder / "gateway.db").stat().st_size


class Player(WSListener):
    """A connection that repeats a request, and waits as long as a refusal says."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._transport: WSTransport | None = None
        self.answered = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport
        for _ in range(IN_FLIGHT):
            self._ask()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Ask again after an answer."""
        text = frame.get_payload_as_bytes() if frame.msg_type is WSMsgType.TEXT else b""
        error = json.loads(text) if text.startswith(b'{"type":"error"') else {}
        if error.get("status") == RATE_LIMITED:
            # Each waits its turn: the gateway closes a connection that only tries again.
            asyncio.get_running_loop().call_later(IN_FLIGHT * error["retry_after_ms"] / 1000, self._ask)
        elif error or text.startswith(b'{"type":"reply"'):
            self.answered += 1
            self._ask()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End."""
        self._transport = None

    def _ask(self) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, self._text)


class Stranger(WSListener):
    """A connection without a credential that pings as fast as it may."""

    transport: WSTransport
    answered = 0
    lost = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self.transport = transport
        self.ping()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Ping again."""
        if frame.msg_type is WSMsgType.PONG:
            self.answered += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End."""
        self.lost = True

    def ping(self) -> None:
        """Send some pings."""
        for _ in range(8):
            self.transport.send(WSMsgType.PING, b"")


async def measure_strangers(warm: float, seconds: float) -> Found:
    """Let unauthenticated connections ping, each close to a thousand times a second, and reconnect when closed."""

    async def prepare(folder: Path, url: str) -> None:
        database = database_for(url)
        await populate(database, [Person("nobody")], {})
        await database.close()

    async with _server(prepare) as (server, pid):
        strangers: list[Stranger] = []
        coming = asyncio.create_task(_keep_pinging(server, strangers))
        found = await _watch(f"{STRANGERS} strangers that ping", pid, server.folder, strangers, warm, seconds)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        return found


async def _keep_pinging(server: Server, strangers: list[Stranger]) -> None:
    url = f"ws://127.0.0.1:{server.port}/ws/chat"
    while True:
        began = time.perf_counter()
        there = [stranger for stranger in strangers if not stranger.lost]
        for stranger in there:
            stranger.ping()
        if len(there) < STRANGERS:
            stranger = Stranger()
            with suppress(OSError):
                await ws_connect(lambda: stranger, url)  # noqa: B023 - awaited before the next one
                strangers.append(stranger)
        await asyncio.sleep(max(0, 0.009 - (time.perf_counter() - began)))


def table_of(found: Sequence[Found]) -> Table:
    """Build the table of the figures."""
    table = Table(title="What one user takes within the default limits", caption=machine())
    table.add_column("load")
    for column in ("share of a core", "answered/s", "ms each", "KB stored/s"):
        table.add_column(column, justify="right")
    for each in found:
        table.add_row(
            each.name, f"{each.share:.0%}", f"{each.answered:,.1f}", f"{each.each:.2f}", f"{each.stored / 1000:,.0f}"
        )
    return table


async def measure_all(sizes: Sizes, warm: float, seconds: float, only: str) -> list[Found]:
    """Play each load with `only` in its name."""
    chosen = [load for load in LOADS if only in load.name]
    found = [await measure(load, sizes, warm, seconds) for load in track(chosen, "loads")]
    if only in "strangers that ping":
        found.append(await measure_strangers(warm, seconds))
    return found


def main(
    members: Annotated[int, typer.Option(min=1, help="Of the crowd.")] = 100_000,
    private_rooms: Annotated[int, typer.Option(min=1, help="Rooms that the other user has.")] = 400_000,
    unread_rooms: Annotated[int, typer.Option(min=1, help="Rooms with unread messages.")] = 100,
    unread: Annotated[int, typer.Option(min=1, help="Unread messages in each.")] = 1000,
    long_messages: Annotated[int, typer.Option(min=1, help="Messages of 64 KB in the room.")] = 280,
    warm: Annotated[float, typer.Option(help="Seconds before it is measured.")] = 4,
    seconds: Annotated[float, typer.Option(help="Seconds for which it is measured.")] = 4,
    only: Annotated[str, typer.Option(help="Play the loads with this in their names.")] = "",
    json_file: JsonFile = None,
) -> None:
    """Measure the share of the server that one user takes within the default limits."""
    sizes = Sizes(members, private_rooms, unread_rooms, unread, long_messages)
    found = uvloop.run(measure_all(sizes, warm, seconds, only))
    Console(highlight=False).print(table_of(found))
    if json_file is not None:
        figures = {each.name: asdict(each) for each in found}
        write_figures(json_file, {"machine": machine(), **figures})


if __name__ == "__main__":
    typer.run(main)
