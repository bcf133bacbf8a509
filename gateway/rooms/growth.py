"""How the text of a message grows: pieces that share one change of the log, each with an outcome of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.rooms.batch import Change
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from handlers.errors import Conflict, MessageError, TextTooLong, WrongLength
from schemas.messages.chat import MAX_GROWN_TEXT


@dataclass(frozen=True, slots=True)
class NewPiece:
    """More text for the end of a message."""

    text: str
    at: int | None = None
    """The length that the text should have before it, in characters."""
    done: bool = False
    """Whether the message grows no more."""


@dataclass(frozen=True, slots=True)
class Append(Change["Grown"]):
    """Pieces for one message, in their order."""

    room: str
    user_id: str
    message_id: str
    pieces: Sequence[NewPiece]
    by_service: bool = False
    """Whether the sender is a service, which needs no membership."""


@dataclass(slots=True)
class Grown:
    """The outcome: the message as it is now, and what has been added to it."""

    room: RoomRow
    message: MessageRow
    at: int
    """The length of the text before, in characters."""
    text: str
    """What has been added."""
    outcomes: Sequence[int | MessageError]
    """For each piece the length of the text after it, or why it was refused."""

    @property
    def is_changed(self) -> bool:
        """Return whether any piece was accepted."""
        return not all(isinstance(outcome, MessageError) for outcome in self.outcomes)


class Growth:
    """A message while pieces are added to it."""

    def __init__(self, row: MessageRow) -> None:
        """Raise `Conflict` for a message that cannot grow."""
        if row.deleted_at is not None:
            raise Conflict("the message has been deleted meanwhile")
        if row.text is None:
            raise Conflict("expected a message with a text; one with a `body` cannot grow, but `chat.edit` replaces it")
        self.at = len(row.text)
        self.done = row.done
        self._texts: list[str] = []
        self._length = self.at

    @property
    def text(self) -> str:
        """Return what has been added."""
        return "".join(self._texts)

    def check(self, piece: NewPiece) -> None:
        """Raise the reason why a piece cannot be added."""
        if self.done:
            raise Conflict("the message is done and grows no more; send a new one")
        if piece.at is not None and piece.at != self._length:
            raise WrongLength(self._length)
        if (length := self._length + len(piece.text)) > MAX_GROWN_TEXT:
            raise TextTooLong(length, MAX_GROWN_TEXT)

    def add(self, piece: NewPiece) -> int:
        """Add a piece that has been checked, and return the length of the text after it."""
        self._texts.append(piece.text)
        self._length += len(piece.text)
        self.done = piece.done
        return self._length
