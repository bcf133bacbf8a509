"""Makes `message.unseen` when it is due: the users that have neither a connection nor read the message.

Only then is it certain which users these are. So the store has one entry for the message until then. It is replaced by
events of up to `PAGE` users, one in each transaction, with an id that comes from the first: after a crash, the next
node goes on with the same ids.
"""

from functools import partial
from hashlib import sha256
from typing import TypedDict

import orjson

from gateway.cluster.roster import Roster
from gateway.core.clock import Clock, milliseconds
from gateway.rooms.encoding import message_json
from gateway.store import outgoing_events
from gateway.store.engine import Database
from gateway.store.outgoing_events import NewEvent, WaitingEvent

PAGE = 500
"""The most users of one event."""


class Progress(TypedDict):
    """How far the events about a message are made."""

    after: str
    """The id of the last user that is in one of them, or had no need of it."""
    page: int
    """The number of the next one, from 1 on."""


class UnseenMessages:
    """Makes the events about unread messages of one hook."""

    def __init__(self, webhook: str, owner: str, database: Database, roster: Roster, clock: Clock) -> None:
        self._webhook = webhook
        self._owner = owner
        self._database = database
        self._roster = roster
        self._clock = clock

    async def make(self, event: WaitingEvent, progress: str) -> bool:
        """Make the events about a message, and remove the entry that stood for them.

        Return False if another node sends the hook's events by now.
        """
        rest: Progress | None = orjson.loads(progress)
        while rest is not None:
            page, rest = await self._next_page(event, rest["after"], rest["page"])
            replace = partial(
                outgoing_events.replace_page,
                owner=self._owner,
                event=event,
                page=page,
                webhook=self._webhook,
                rest=None if rest is None else orjson.dumps(rest).decode(),
            )
            if not await self._database.transact(replace):
                return False
        return True

    async def _next_page(self, event: WaitingEvent, after: str, number: int) -> tuple[NewEvent | None, Progress | None]:
        """Return the event about the users after one, if there are any, and where to go on, if there may be more."""
        assert event.room_id is not None and event.offset is not None  # noqa: S101, PT018 - the entry is about a message
        read = partial(outgoing_events.message, room_id=event.room_id, offset=event.offset)
        found = await self._database.query(read)
        if found is None:
            return None, None
        room, message = found
        find = partial(outgoing_events.unread_by, message=message, after=after, limit=PAGE)
        unread = await self._database.query(find)
        connected = await self._roster.connected([name for _, name in unread])
        users = [name for _, name in unread if name not in connected]
        rest: Progress | None = None
        if len(unread) == PAGE:
            rest = {"after": unread[-1][0], "page": number + bool(users)}
        if not users:
            return None, rest
        data = orjson.dumps({"message": orjson.Fragment(message_json(room, message)), "users": users})
        made = NewEvent(
            webhook=self._webhook,
            stream=f"unseen:{room.name}",
            event_id=page_id(event.event_id, number),
            type=event.type,
            data=data.decode(),
            created_at=milliseconds(self._clock),
            trace=event.trace,
        )
        return made, rest


def page_id(first: str, number: int) -> str:
    """Return the id of the event with a page of users. Every node makes the same one."""
    return first if number == 1 else f"msg_{sha256(f'{first}.{number}'.encode()).hexdigest()[:32]}"
