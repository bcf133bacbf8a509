"""`gateway kick`: closes connections now, and ends their sessions if the operator wants that."""

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial

from pydantic import Field, model_validator

from gateway.auth.sessions import LoginSessions
from gateway.connections.registry import Connection, Connections
from gateway.core.audit import Audit
from gateway.core.batches import batches
from gateway.core.client_info import network_of
from gateway.core.local_socket import Data
from gateway.operating.all_nodes import AllNodes, Question, total
from gateway.operating.asking import asked_by, entry_of
from gateway.store import users
from gateway.store.engine import Database
from handlers.errors import Unavailable
from schemas.services import is_service

STORE_SECONDS = 2.0
MAX_NAMED = 20
"""Users that a problem names."""
_BATCH = 100
"""Connections that are closed before others get a turn."""


class Kick(Question):
    """Connections to close: of a user, with an id, or from an address."""

    user: str | None = Field(default=None, max_length=128)
    connection: str | None = Field(default=None, max_length=64)
    address: str | None = Field(default=None, max_length=64)
    sessions: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> "Kick":
        if [self.user, self.connection, self.address].count(None) != 2:
            raise ValueError("expected one of user, connection and address")
        return self


class Kicks:
    """Closes connections of this node for an operator."""

    def __init__(
        self, connections: Connections, sessions: LoginSessions, database: Database, audit: Audit, all_nodes: AllNodes
    ) -> None:
        self._connections = connections
        self._sessions = sessions
        self._database = database
        self._audit = audit
        all_nodes.serve("kick", Kick, self._kick, note=self._note)

    async def _kick(self, asked: Kick) -> Data:
        found = self._found(asked)
        closed = 0
        for batch in batches(iter(found), _BATCH):
            closed += self._connections.disconnect(batch)
            await asyncio.sleep(0)
        if asked.address is not None:
            closed += self._connections.disconnect_pending(network_of(asked.address))
        return {"closed": closed, **await self._end_sessions(asked, found)}

    def _found(self, asked: Kick) -> list[Connection]:
        if asked.address is not None:
            address = network_of(asked.address)
            return [each for each in self._connections.all() if each.address == address]
        if asked.connection is not None:
            return [each for each in self._connections.all() if each.connection == asked.connection]
        return [each for each in self._connections.all() if each.user == asked.user]

    async def _end_sessions(self, asked: Kick, closed: list[Connection]) -> Data:
        """Return the number of ended sessions, and a problem if there is one. A store that is down stops no kick."""
        ended: set[str] = set()
        try:
            async with asyncio.timeout(STORE_SECONDS):
                is_known = await self._end_known(asked, closed, ended)
        except TimeoutError:
            part = "store"
        except Unavailable as error:
            part = error.part
        else:
            return {"ended": len(ended), "known": is_known}
        return {
            "ended": len(ended),
            "known": True,
            "problem": f"the {part} does not answer; {_again(asked, closed, ended)}",
        }

    async def _end_known(self, asked: Kick, closed: list[Connection], ended: set[str]) -> bool:
        """End sessions if that is wanted, and add their ids to `ended`. Return whether anything was found.

        Look the user up only if that is needed: without the store, a kick alone works.
        """
        needs_user = asked.user is not None and (asked.sessions or not closed)
        user_id = await self._id_of(asked.user) if needs_user else None
        if asked.sessions:
            await self._end(asked, closed, user_id, ended)
        return bool(closed) or user_id is not None

    async def _end(self, asked: Kick, closed: Iterable[Connection], user_id: str | None, ended: set[str]) -> None:
        by = entry_of(asked.by)
        if user_id is not None:
            ended.update(await self._sessions.end(user_id, by, "session_ended"))
            return
        for user, session in {(each.user_id, each.sid) for each in _with_sessions(closed)}:
            ended.update(await self._sessions.end(user, by, "session_ended", only=session))

    async def _id_of(self, name: str | None) -> str | None:
        if name is None or is_service(name):
            return None
        found = await self._database.query(partial(users.by_name, name=name))
        return None if found is None else found.id

    def _note(self, asked: Kick, nodes: dict[str, Data]) -> None:
        self._audit.record(
            "kicked",
            asked_by(),
            of_user=asked.user,
            connection=asked.connection,
            of_address=asked.address,
            closed=total(nodes, "closed"),
            ended=total(nodes, "ended"),
        )


def _with_sessions(connections: Iterable[Connection]) -> Iterator[Connection]:
    """Yield the connections that belong to sessions. A service has none."""
    return (each for each in connections if each.sid is not None and not is_service(each.user))


def _again(asked: Kick, closed: Iterable[Connection], ended: set[str]) -> str:
    """Return how to end the sessions that are left. Closed connections cannot be found a second time."""
    left = sorted({each.user for each in _with_sessions(closed) if each.sid not in ended})
    if asked.user is not None or not left:
        return "repeat this when it does"
    more = f" and {len(left) - MAX_NAMED:,} more" if len(left) > MAX_NAMED else ""
    return f"when it does, `gateway kick USER --sessions` for {', '.join(left[:MAX_NAMED])}{more}"
