"""The newest part of a room's log in memory, as the JSON of its events.

A window holds all changes of the log after one offset (`floor`) up to another (`top`). A message that has changed twice
has two entries, of which the later one counts. The JSON is what the room's listeners got, so nothing is encoded again
for a client that joins or resumes. Only a message that grows is put together from its pieces, when it is asked for.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.bus.base import Logged
from gateway.rooms.grown_events import Piece, data_in, is_piece, message_of, piece_of, with_pieces

ENTRY_BYTES = 500
"""The memory of an entry besides its JSON."""

MAX_PIECES = 32
"""The pieces of a message that wait until it is asked for. To put it together at each would be work for nothing."""

PIECE_BYTES = 300
"""The memory of such a piece besides its text."""


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """The most that one window may hold. Without entries there are no windows."""

    entries: int
    """Changes of the log."""
    size: int
    """Bytes in memory, apart from the pages that were last asked for."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events or messages as JSON, with commas between them."""

    count: int
    text: bytes


def page_of(texts: Iterable[bytes]) -> Page:
    """Return events or messages as a page."""
    listed = list(texts)
    return Page(len(listed), b",".join(listed))


class _Entry:
    """A change of a message, as it was published."""

    __slots__ = ("_event", "_pieces", "changed_at", "message", "offset", "size")

    def __init__(self, event: Logged, changed_at: int) -> None:
        self._event = event
        self._pieces: list[Piece] = []  # by which the message has grown since
        self.offset = event.offset
        self.changed_at = changed_at  # in milliseconds since 1970
        self.message: int | None = None  # the offset of the message: lower than that of the event, if it was edited
        self.size = _size_of(event)

    @property
    def event(self) -> Logged:
        """Return the event with the whole message."""
        if self._pieces:
            self._event = with_pieces(self._event, self._pieces)
            self._pieces = []
        return self._event

    def grow(self, piece: Piece, changed_at: int) -> None:
        """Add a piece to the message."""
        if len(self._pieces) == MAX_PIECES:
            _ = self.event
        if not self._pieces:
            self.size = _size_of(self._event)
        self._pieces.append(piece)
        self.offset = piece.offset
        self.changed_at = changed_at
        self.size += PIECE_BYTES + 4 * len(piece.text)

    @property
    def owner(self) -> str | None:
        """Return the id of the user with a form of its own."""
        return None if self._event.own is None else self._event.own.user_id

    def text(self, viewer_id: str) -> bytes:
        """Return the event, as a user gets it."""
        event = self.event
        own = event.own
        return (own.frame if own is not None and own.user_id == viewer_id else event.frame).texts[0]

    def message_text(self, viewer_id: str) -> bytes:
        """Return the message in the event, as a user gets it."""
        return data_in(self.text(viewer_id))


def _size_of(event: Logged) -> int:
    return ENTRY_BYTES + len(event.frame.wire) + (0 if event.own is None else len(event.own.frame.wire))


class Window:
    """The changes of a room's log after `floor`, up to `top`."""

    __slots__ = ("_changes", "_entries", "_newest", "_owners", "_pages", "_size", "epoch", "floor", "is_whole", "top")

    def __init__(self, epoch: str, floor: int, *, is_whole: bool) -> None:
        """`is_whole` says that the store has no messages whose last change is not after `floor`."""
        self.epoch = epoch
        self.floor = self.top = floor
        self.is_whole = is_whole
        self._size = 0  # of the entries
        self._entries: deque[_Entry] = deque()
        self._changes: list[_Entry] | None = None  # the last of each message, in their order
        self._newest: list[_Entry] = []  # the same of messages after `floor`, in the order of the messages
        self._owners: set[str] = set()  # users with another form of some entries
        self._pages: dict[str, tuple[int, Page]] = {}  # the last page of each kind, for all other users

    @property
    def size(self) -> int:
        """Return its bytes in memory."""
        return self._size + sum(len(page.text) for _, page in self._pages.values())

    def append(self, event: Logged, changed_at: int, limits: WindowLimits) -> bool:
        """Add the next change of the log, and drop the oldest ones over the limits.

        Return False for a piece of a message that the window does not hold. Then the window must be forgotten: nothing
        here knows the whole message.
        """
        if event.offset <= self.top:
            return True
        if is_piece(event):
            piece = piece_of(event)
            entry = None if piece is None else self._take_grown(event)
            if piece is None or entry is None:
                return False
            entry.grow(piece, changed_at)
        else:
            entry = _Entry(event, changed_at)
        self.top = event.offset
        self._entries.append(entry)
        self._size += entry.size
        self._changed()
        while len(self._entries) > limits.entries or self._size > limits.size:
            self._drop_oldest()
            self.is_whole = False
        return True

    def _take_grown(self, piece: Logged) -> _Entry | None:
        """Take the entry of the message that grows from its place, or return None without one."""
        message = message_of(piece)
        for number in range(len(self._entries) - 1, -1, -1):  # it has mostly changed a moment ago
            entry = self._entries[number]
            if self._message_of(entry) == message:
                del self._entries[number]
                self._size -= entry.size
                return entry
        return None

    def advance(self, top: int) -> None:
        """Record that nothing else has changed up to an offset."""
        self.top = max(self.top, top)

    def drop_before(self, time: int) -> None:
        """Drop the changes that were made before a time, as retention does in the store."""
        while self._entries and self._entries[0].changed_at < time:
            self._drop_oldest()

    def since(self, offset: int, viewer_id: str) -> Page | None:
        """Return the events after an offset, or None if the window does not hold all of them.

        Each message that changed since comes once, in its newest state, in the order of the changes.
        """
        if not self.floor <= offset <= self.top:
            return None
        return self._page("since", offset, viewer_id)

    def newest(self, count: int, viewer_id: str) -> Page | None:
        """Return the newest messages, oldest first, or None if the window does not hold so many."""
        self._look_through()
        if len(self._newest) < count and not self.is_whole:
            return None
        return self._page("newest", count, viewer_id)

    def _page(self, kind: str, number: int, viewer_id: str) -> Page:
        self._look_through()
        if viewer_id in self._owners:
            return self._make_page(kind, number, viewer_id)
        last, page = self._pages.get(kind, (None, None))
        if page is None or last != number:
            page = self._make_page(kind, number, viewer_id)
            self._pages[kind] = (number, page)
        return page

    def _make_page(self, kind: str, number: int, viewer_id: str) -> Page:
        if kind == "newest":
            return page_of(entry.message_text(viewer_id) for entry in self._newest[-number:] if number)
        changes = self._changes or ()
        return page_of(entry.text(viewer_id) for entry in changes if entry.offset > number)

    def _look_through(self) -> None:
        """Sort the entries, unless that was done since the last change."""
        if self._changes is not None:
            return
        last: dict[int, _Entry] = {}
        for entry in self._entries:
            message = self._message_of(entry)
            last.pop(message, None)  # the later change has its place at the end
            last[message] = entry
        self._changes = list(last.values())
        # A message after `floor` has all of its changes after `floor`, so none of these is missing.
        whole = [message for message in last if self.is_whole or message > self.floor]
        self._newest = [last[message] for message in sorted(whole)]
        self._owners = {entry.owner for entry in self._changes if entry.owner is not None}

    def _message_of(self, entry: _Entry) -> int:
        if entry.message is None:
            entry.message = message_of(entry.event)
        return entry.message

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self.floor = entry.offset
        self._size -= entry.size
        self._changed()

    def _changed(self) -> None:
        self._changes = None
        if self._pages:
            self._pages.clear()
