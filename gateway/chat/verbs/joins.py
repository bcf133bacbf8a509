"""How one connection joins a room: from what the node remembers of the room, or else from the store.

A join from memory takes one step, in which no event can come in between. A join from the store takes several:

1. The user enters the room, unless the node hears it already. A refused user causes no subscription.
2. The connection begins to join. From then on, the hub keeps the room's new events back for it.
3. Earlier events go out, before the reply: after it, an old `room.left` would look new.
4. The room is read, at some time after step 2. What the room remembers by then may answer, with the store's word that
   the user is a member.
5. The join ends: the connection gets the events after the read.
"""

from collections.abc import Sequence
from functools import partial

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import ConnectionContext
from gateway.chat.verbs.entries import Entries, Remembered, check_position
from gateway.chat.verbs.join_replies import Joined, remembered_reply
from gateway.chat.verbs.membership import as_member
from gateway.chat.verbs.rights import check_right
from gateway.chat.verbs.room_transactions import RoomTransactions
from gateway.store.rooms import RoomPosition, RoomRow
from schemas.messages.rooms import JoinReply, JoinRoom, Role


class Joins(Entries):
    """The joins of one connection."""

    _session: ConnectionContext

    def __init__(self, session: ConnectionContext, transactions: RoomTransactions) -> None:
        super().__init__(session)
        self._transactions = transactions

    async def join(self, request: JoinRoom) -> JoinReply:
        """Make the user a member and the connection a listener."""
        role = await check_right(self._session, Right.JOIN, request.room)
        remembered = self.find_remembered(request)
        if remembered is None:
            return await self._subscribe(request, role, has_entered=await self.enter_unheard(request, role))
        self.complete([remembered])
        return remembered.joined.reply

    def remembered(self, requests: Sequence[JoinRoom]) -> list[Remembered] | None:
        """Return the joins if memory can answer all of them, or None."""
        found = []
        for request in requests:
            one = self.find_remembered(request)
            if one is None:
                return None
            found.append(one)
        return found

    def complete(self, remembered: Sequence[Remembered]) -> None:
        """Make the connection a listener of rooms that memory has answered for, in the same turn of the event loop."""
        for each in remembered:
            self._hub.join_at_once(each.room, self._session, each.joined.position.offset, each.departures)
        self._hub.memory.hits += len(remembered)
        self._session.flush()

    async def read(self, request: JoinRoom, role: Role | None, *, has_entered: bool) -> Joined:
        """Read what a join replies, for a connection that has begun to join.

        A user that has entered does not enter again: if the membership has ended since then, raise `NotAMember`.
        """
        self._hub.memory.misses += 1
        if has_entered:
            row = await self._find_as_member(request.room)
        else:
            row = await self.enter(request.room, request.since, role)
        await self._gateway.turns.take()  # the store has answered many joins at once
        check_position(row, request.since)
        room = self._hub.find(request.room)
        if room is not None:
            await self._hub.memory.load(room, row)
            window = self._hub.memory.window_of(room)
            # A window that is behind the store would be so for long while the bus is down.
            if window is not None and window.epoch == row.epoch and window.top >= row.offset:
                at = RoomPosition(row.name, row.epoch, window.top, row.arrivals, row.departures)
                joined = remembered_reply(window, at, self._session.user_id, request.since, request.limit)
                if joined is not None:
                    return joined
        work = partial(self._transactions.read, name=request.room, since=request.since, limit=request.limit)
        return await self._gateway.database.query(work)

    def find_remembered(self, request: JoinRoom) -> Remembered | None:
        """Return a join that memory can answer, unless this connection joins the room already."""
        found = super().find_remembered(request)
        return None if found is not None and self._session in found.room.joining else found

    async def enter_unheard(self, request: JoinRoom, role: Role | None) -> bool:
        """Let the user enter a room that the node does not hear, and return whether that was so.

        So a user that is refused causes no subscription.
        """
        if self._hub.find_certain(request.room) is not None:
            return False
        await self.enter(request.room, request.since, role)
        return True

    async def _subscribe(self, request: JoinRoom, role: Role | None, *, has_entered: bool) -> JoinReply:
        await self._hub.begin_join(request.room, self._session)
        self._session.flush()
        try:
            joined = await self.read(request, role, has_entered=has_entered)
        except BaseException:
            self._hub.abort_join(request.room, self._session)
            raise
        self._hub.complete_join(self._session, joined.position)
        if request.room in self._session.joined:
            return joined.reply
        # Meanwhile the membership ended, and this connection missed the event, or the room was made anew.
        return await self._subscribe(request, role, has_entered=True)

    async def _find_as_member(self, name: str) -> RoomRow:
        return as_member(name, await self._gateway.room_finder.find(name, self._session.user_id))
