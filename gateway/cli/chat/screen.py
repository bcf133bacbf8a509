"""The input and output of a conversation, whether it is a terminal or a pipe."""

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from rich.text import Text


@dataclass(frozen=True)
class AnyMessage:
    """A message of any type, which a user has written by hand."""

    type: str
    data: Any


@dataclass(frozen=True)
class Line:
    """A line to send: a text for the room, or another message. If it cannot be sent, it has a `problem`.

    The gateway recognises a text by its `client_id`, however often it is sent.
    """

    number: int
    text: str
    problem: str = ""
    message: AnyMessage | None = None
    client_id: str = field(default_factory=partial(secrets.token_urlsafe, 16), repr=False)


class Screen(Protocol):
    """Shows lines, and returns the typed ones. There are two: `Terminal` and `Pipe`."""

    live: bool
    """Whether a person uses it, and can decide how long to wait."""

    async def next_line(self) -> Line | None:
        """Return the next line that is not empty, or None at the end and ever after."""

    def show(self, line: Text) -> None:
        """Show a line of the room."""

    def grow(self, key: str, label: Text, piece: str) -> None:
        """Show the next piece of a text. Texts with different keys may grow at the same time."""

    def settle(self, key: str) -> None:
        """Show the rest of a text that has grown. Do nothing for one that is unknown."""

    def notify(self, notice: str) -> None:
        """Show a notice about the connection."""

    def report(self, line: Line, problem: str) -> None:
        """Show why a line was not sent."""
