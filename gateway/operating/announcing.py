"""`gateway announce`: an announcement to the connections of all nodes, or to listeners of a room."""

import asyncio

from pydantic import Field

from gateway.bus.base import ToAll, ToRoom
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.clock import Clock, milliseconds
from gateway.core.local_socket import Data, LocalFailed
from gateway.operating.all_nodes import AllNodes, Question, total
from gateway.operating.asking import asked_by
from gateway.rooms.finder import RoomFinder
from gateway.rooms.hub import Hub
from gateway.transport import frames
from handlers.errors import Unavailable
from schemas.base import timestamp
from schemas.events.system import Announcement
from schemas.messages.system import MAX_TEXT
from schemas.names import ROOM_NAME

STORE_SECONDS = 1.0
"""How long to look for the room."""
OPERATOR = "gateway:operator"
"""The sender of an operator's announcement. No user and no service can have this name."""


class Announce(Question):
    """The text of an announcement, and the room that it is for."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    room: str | None = Field(default=None, pattern=ROOM_NAME)


class Announcements:
    """Delivers announcements to the connections of this node.

    Each node gets them as a question, and not as an event of the bus, so that it can say how many connections it has.
    """

    def __init__(
        self, hub: Hub, finder: RoomFinder, audit: Audit, clock: Clock, settings: Settings, all_nodes: AllNodes
    ) -> None:
        self._hub = hub
        self._finder = finder
        self._audit = audit
        self._clock = clock
        self._settings = settings
        all_nodes.serve("announce", Announce, self._announce, check=self._check, note=self._note)

    async def _check(self, asked: Announce) -> None:
        if asked.room is None or self._hub.find_certain(asked.room) is not None:
            return
        try:
            async with asyncio.timeout(STORE_SECONDS):
                found = await self._finder.find(asked.room, "")
        except (Unavailable, TimeoutError):  # an operator may announce just that
            return
        if found is None:
            raise LocalFailed(f"there is no room `{asked.room}`")

    async def _announce(self, asked: Announce) -> Data:
        event = Announcement(sender=OPERATOR, text=asked.text, sent_at=timestamp(milliseconds(self._clock)))
        frame = frames.bounded(frames.event(event), self._settings.max_frame_bytes)
        return {"reached": self._hub.receive(ToAll(frame) if asked.room is None else ToRoom(frame, asked.room))}

    def _note(self, asked: Announce, nodes: dict[str, Data]) -> None:
        self._audit.record("announced", asked_by(), room=asked.room, reached=total(nodes, "reached"))
