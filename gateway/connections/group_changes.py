"""Limits open connections to the rooms that the groups of their users allow, soon after a group has changed.

Commands such as `gateway groups set` are processes of their own, so each node asks the store for the number of the last
change. After another change, it reads the rights of its connected users anew. It does so once a minute in any case: a
connection may have been authenticated just before a change, and opened just after that.

A connection never gets more rights in this way. It gets them with its next token.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from gateway.auth.room_rights import rights_of
from gateway.connections.registry import Connections
from gateway.core.batches import batches
from gateway.core.periodic import Periodic
from gateway.store import groups
from gateway.store.engine import Database

LOOK_SECONDS = 0.5
LOOK_AT_ALL_SECONDS = 60
BATCH = 500
"""Users in one query."""


class GroupWatcher:
    """Notices changes of groups, and limits the connections of this node."""

    def __init__(self, database: Database, connections: Connections) -> None:
        self._database = database
        self._connections = connections
        self._version = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Limit connections within a second of a change, while the context lasts."""
        async with (
            Periodic("groups", LOOK_SECONDS, self._look),
            Periodic("groups", LOOK_AT_ALL_SECONDS, self.limit_all),
        ):
            yield self

    async def limit_all(self) -> None:
        """Limit all connections to what the groups of their users allow now."""
        if not self._version:
            return  # there has never been a group
        for ids in batches(self._connections.own_user_ids(), BATCH):
            found = await self._database.query(partial(groups.rights_of_users, user_ids=ids))
            for user_id, text in found.items():
                if (rights := rights_of(text)) is not None:
                    self._connections.limit_rooms(user_id, rights)

    async def _look(self) -> None:
        if not self._connections.count:
            return
        version = await self._database.query(groups.version)
        if version != self._version:
            # A failure of what follows leaves the change to the next look.
            before, self._version = self._version, version
            try:
                await self.limit_all()
            except BaseException:
                self._version = before
                raise
