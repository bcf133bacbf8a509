"""Clients that send again and again, and listeners that count."""

import asyncio
from collections.abc import Callable

from benchmarks.client import Client
from benchmarks.dialects import ROOM_NAME, Dialect

TEXT = b"The quick brown fox jumps over the lazy dog."


class Echoing(Client):
    """A client that sends a message, and the next one after the echo."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self._dialect = dialect
        self.answers = 0
        self.stopped = False
        self.rests = asyncio.Event()
        """Set after `stopped`, when no message is on its way."""

    def begin(self) -> None:
        """Send a message, and go on."""
        self.stopped = False
        self.rests.clear()
        self.say()

    def say(self) -> None:
        """Send a message of about 120 bytes with its own number."""
        self.send(self._dialect.echo(self.answers, echo_message(self.answers)))

    def take(self, text: bytes) -> None:
        """Count the answer."""
        if self.rests.is_set():
            return  # the server says good-bye
        if b'"%d: %b"' % (self.answers, TEXT) not in text:
            raise RuntimeError(f"not what was sent: {text.decode()}")
        self.answers += 1
        if self.stopped:
            self.rests.set()
        else:
            self.say()


def echo_message(number: int) -> bytes:
    """Return a message that asks for an echo."""
    return b'{"type":"echo","id":%d,"data":{"text":"%d: %b","n":[1,2,3],"flag":true}}' % (number, number, TEXT)


def room_message(number: int, text: bytes, room: str = ROOM_NAME) -> bytes:
    """Return a message to all of a room."""
    return b'{"type":"chat.send","id":%d,"data":{"room":"%b","text":"%b"}}' % (number, room.encode(), text)


class Talk:
    """The messages of a room, counted at its listeners."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.said = 0
        self.heard = 0
        self.on_all_heard: Callable[[], None] = lambda: None
        self.stopped = False

    def hear(self) -> None:
        """Count a delivery."""
        self.heard += 1
        if self.heard == self.said * self.size:
            self.on_all_heard()


class Listening(Client):
    """A listener of a room; some also talk."""

    def __init__(self, dialect: Dialect, talk: Talk, number: int, room: str = ROOM_NAME) -> None:
        super().__init__()
        self._dialect = dialect
        self._talk = talk
        self._room = room
        self._mark = b"%d says: %b" % (number, TEXT)
        self._own = b'"' + self._mark
        self._insists = False

    def say(self) -> None:
        """Send a message to all."""
        if not self._talk.stopped:
            self._talk.said += 1
            self.send(self._dialect.say(room_message(self._talk.said, self._mark, self._room), self._room))

    def keep_talking(self) -> None:
        """Send a message, and the next one whenever this listener has received it."""
        self._insists = True
        self.say()

    def talk_no_more(self) -> None:
        """Stop talking, and only listen."""
        self._insists = False

    def take(self, text: bytes) -> None:
        """Count a message. A reply, which contains it too, is no delivery."""
        if TEXT in text and not text.startswith(b'{"type":"reply"'):
            self._talk.hear()
            if self._insists and self._own in text:
                self.say()
