"""The connections of all nodes: listed, looked for by room, and closed from any node.

Each node answers for its own connections. A list is in the order of ids, and each node sends no more than a page of it.
So a page costs as much with many nodes as with one, and its cursor is good on every node.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from gateway.cluster.node_calls import Data, NodeCalls
from gateway.connections.registry import Connection, Connections
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.rooms.hub import Hub
from handlers.errors import Unavailable
from schemas.base import timestamp

MAX_PAGE = 100
"""The most items of a page: the bus carries no longer answer than 256 KiB."""

SECONDS = 2.0
"""How long to wait for the other nodes."""

_BATCH = 1000
"""Connections that are looked at before others get a turn."""


@dataclass(frozen=True)
class ConnectionFilter:
    """The connections of a list: of a user by id, in a room, from an address, or all."""

    user_id: str | None = None
    room: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Page:
    """Items of all nodes, whether there are more, and the nodes that have not answered."""

    items: tuple[Data, ...]
    has_more: bool
    missing: frozenset[str]


class ConnectionDirectory:
    """Finds the connections of all nodes. Each node has one, which answers the others."""

    def __init__(self, connections: Connections, hub: Hub, node_calls: NodeCalls, clock: Clock) -> None:
        self._connections = connections
        self._hub = hub
        self._node_calls = node_calls
        self._clock = clock
        node_calls.serve("connections.list", self._list_own)
        node_calls.serve("connections.users", self._users_own)
        node_calls.serve("connections.close", self._close_own)
        node_calls.serve("connections.disconnect", self._disconnect_own)

    async def list_page(self, which: ConnectionFilter, after: str, limit: int) -> Page:
        """Return the next connections after an id, in the order of their ids."""
        asked = {**asdict(which), "after": after, "limit": limit}
        return await self._page("connections.list", asked, "connection", limit)

    async def users_in_room(self, room: str, after: str, limit: int) -> Page:
        """Return the next users after a name that have a connection in a room, by name, each once."""
        return await self._page("connections.users", {"room": room, "after": after, "limit": limit}, "user", limit)

    async def close(self, connection: str) -> bool:
        """Close a connection on any node, and return whether there was one.

        Raise `Unavailable` if there was none, but a node has not answered.
        """
        answers, missing = await self._ask("connections.close", {"connection": connection})
        if any(answer["closed"] for answer in answers.values()):
            return True
        _check_complete(missing)
        return False

    async def disconnect(self, user_id: str) -> int:
        """Close all connections of a user on all nodes, and return their number.

        Raise `Unavailable` if a node has not answered; the others have closed theirs.
        """
        answers, missing = await self._ask("connections.disconnect", {"user_id": user_id})
        _check_complete(missing)
        return sum(answer["closed"] for answer in answers.values())

    async def _page(self, kind: str, asked: Data, key: str, limit: int) -> Page:
        answers, missing = await self._ask(kind, asked)
        found: dict[str, Data] = {}
        for node, answer in answers.items():
            for item in answer["items"]:
                found.setdefault(item[key], item | {"node": node})
        items = sorted(found.values(), key=itemgetter(key))
        return Page(tuple(items[:limit]), len(items) > limit, missing)

    async def _ask(self, kind: str, asked: Data) -> tuple[dict[str, Data], frozenset[str]]:
        expected = self._node_calls.others | {self._node_calls.own_id}
        answers = await self._node_calls.ask_all(kind, asked, SECONDS)
        return answers, frozenset(expected - answers.keys())

    async def _list_own(self, asked: Data) -> Data:
        which = ConnectionFilter(asked["user_id"], asked["room"], asked["address"])
        found = await _first(self._matching(which), _id_of, asked["after"], asked["limit"] + 1)
        return {"items": [self._described(each) for each in found]}

    async def _users_own(self, asked: Data) -> Data:
        in_room = self._matching(ConnectionFilter(room=asked["room"]))
        found = await _first(in_room, _user_of, asked["after"], asked["limit"] + 1)
        return {"items": [{"user": each.user} for each in found]}

    async def _close_own(self, asked: Data) -> Data:
        found = [each for each in self._connections.all() if each.connection == asked["connection"]]
        return {"closed": self._connections.disconnect(found)}

    async def _disconnect_own(self, asked: Data) -> Data:
        return {"closed": self._connections.disconnect(self._connections.for_user(asked["user_id"]))}

    def _matching(self, which: ConnectionFilter) -> Iterator[Connection | None]:
        """Yield the connections, and None for each of the others that were looked at."""
        for each in self._candidates(which):
            is_right = (
                (which.user_id is None or each.user_id == which.user_id)
                and (which.room is None or which.room in each.joined)
                and (which.address is None or each.address == which.address)
            )
            yield each if is_right else None

    def _candidates(self, which: ConnectionFilter) -> Iterable[Connection]:
        if which.user_id is not None:
            return self._connections.for_user(which.user_id)
        if which.room is not None:
            room = self._hub.find(which.room)
            return () if room is None else room.connections
        return self._connections.all()

    def _described(self, connection: Connection) -> dict[str, Any]:
        age = self._clock.steady() - connection.opened_at
        idle = self._clock.steady() - connection.last_message_at
        now = milliseconds(self._clock)
        return {
            "connection": connection.connection,
            "user": connection.user,
            "address": connection.address,
            "scopes": sorted(connection.scopes),
            "rooms": len(connection.joined),
            "connected_at": timestamp(now - round(age * 1000)),
            "last_message_at": timestamp(now - round(idle * 1000)),
            "expires_at": timestamp(round(connection.expires_at * 1000)) if connection.expires_at < math.inf else None,
        }


async def _first(
    found: Iterator[Connection | None], key: Callable[[Connection], str], after: str, count: int
) -> list[Connection]:
    """Return the first connections after a key, in the order of their keys, each key once. Others get turns."""
    first: dict[str, Connection] = {}
    last: str | None = None
    for batch in batches(found, _BATCH):
        for each in batch:
            if each is not None and (name := key(each)) > after and (last is None or name < last):
                first[name] = each
        if len(first) > count:
            first = {name: first[name] for name in sorted(first)[:count]}
            last = max(first)
        await asyncio.sleep(0)
    return [first[name] for name in sorted(first)]


def _id_of(connection: Connection) -> str:
    return connection.connection


def _user_of(connection: Connection) -> str:
    return connection.user


def _check_complete(missing: frozenset[str]) -> None:
    if missing:
        raise Unavailable(f"node {', '.join(sorted(missing))}")
