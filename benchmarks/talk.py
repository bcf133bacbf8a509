"""Those who say something again and again, and those who hear it and count."""

import asyncio
from collections.abc import Callable

from benchmarks.client import Client
from benchmarks.dialects import ROOM_NAME, Dialect

TEXT = b"The quick brown fox jumps over the lazy dog."


class Echoing(Client):
    """Says something, and something new when it has come back."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self._dialect = dialect
        self.answers = 0
        self.stopped = False
        self.rests = asyncio.Event()
        """Set when nothing is on its way, after `stopped`."""

    def begin(self) -> None:
        """Say something, and go on."""
        self.stopped = False
        self.rests.clear()
        self.say()

    def say(self) -> None:
        """Send a message of about 120 bytes, with a number of its own."""
        self.send(self._dialect.echo(self.answers, echo_message(self.answers)))

    def take(self, text: bytes) -> None:
        """Count the answer."""
        if self.rests.is_set():
            return  # a good-bye
        if b'"%d: %b"' % (self.answers, TEXT) not in text:
            raise RuntimeError(f"not what was sent: {text.decode()}")
        self.answers += 1
        if self.stopped:
            self.rests.set()
        else:
            self.say()


def echo_message(number: int) -> bytes:
    """Make a message that is to be said back."""
    return b'{"type":"echo","id":%d,"data":{"text":"%d: %b","n":[1,2,3],"flag":true}}' % (number, number, TEXT)


def room_message(number: int, text: bytes) -> bytes:
    """Make a message that is to be said to all."""
    return b'{"type":"chat.send","id":%d,"data":{"room":"%b","text":"%b"}}' % (number, ROOM_NAME.encode(), text)


class Talk:
    """What is said in a room, counted where it is heard."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.said = 0
        self.heard = 0
        self.on_all_heard: Callable[[], None] = lambda: None
        self.stopped = False

    def hear(self) -> None:
        """Count."""
        self.heard += 1
        if self.heard == self.said * self.size:
            self.on_all_heard()


class Listening(Client):
    """One of those who hear a room; some of them also talk."""

    def __init__(self, dialect: Dialect, talk: Talk, number: int) -> None:
        super().__init__()
        self._dialect = dialect
        self._talk = talk
        self._mark = b"%d says: %b" % (number, TEXT)
        self._own = b'"' + self._mark
        self._insists = False

    def say(self) -> None:
        """Say something to all."""
        if not self._talk.stopped:
            self._talk.said += 1
            self.send(self._dialect.say(room_message(self._talk.said, self._mark)))

    def keep_talking(self) -> None:
        """Say something, and again whenever that has been heard here."""
        self._insists = True
        self.say()

    def talk_no_more(self) -> None:
        """Only hear."""
        self._insists = False

    def take(self, text: bytes) -> None:
        """Count what was said. A reply, which has it as well, is not a delivery."""
        if TEXT in text and not text.startswith(b'{"type":"reply"'):
            self._talk.hear()
            if self._insists and self._own in text:
                self.say()
