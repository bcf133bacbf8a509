"""What a conversation needs of the place where it is held."""

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from rich.text import Text


@dataclass(frozen=True)
class Line:
    """A line to send. One that cannot be, such as one that is not text, has a `problem`.

    By its `client_id` the gateway knows it again, however often it is sent.
    """

    number: int
    text: str
    problem: str = ""
    client_id: str = field(default_factory=partial(secrets.token_urlsafe, 16), repr=False)


class Screen(Protocol):
    """Shows lines, and gives those that were typed. There are two: `Terminal` and `Pipe`."""

    live: bool
    """Whether a person is sitting there, who can decide how long to wait."""

    async def next_line(self) -> Line | None:
        """Give the next line that is not empty, or None at the end, then and ever after."""

    def show(self, line: Text) -> None:
        """Show what was said."""

    def notify(self, notice: str) -> None:
        """Say something about the connection."""

    def report(self, line: Line, problem: str) -> None:
        """Say why a line was not sent."""
