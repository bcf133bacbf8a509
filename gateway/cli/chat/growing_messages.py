"""Messages that grow: shows each piece behind the name of its sender."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from gateway.cli.chat.screen import Screen
from gateway.cli.chat.wording import head_of

MAX_KNOWN = 500
"""The most senders to remember, by their messages: `chat.appended` names none."""


class GrowingMessages:
    """Shows `chat.appended`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._heads: dict[str, Text] = {}

    def on_event(self, type: str, data: Mapping[str, Any]) -> None:
        """Show a piece, or note what another event says about its message."""
        message = str(data.get("id", ""))
        if type == "chat.appended":
            label = self._heads.get(message) or Text(f"#{data.get('offset', '')} (more): ", style="dim")
            self._screen.grow(message, label, str(data.get("text", "")))
            if data.get("done"):
                self._screen.settle(message)
        elif type.startswith("chat.") and message:
            self._screen.settle(message)
            self._note(message, data)

    def _note(self, message: str, data: Mapping[str, Any]) -> None:
        self._heads.pop(message, None)
        while len(self._heads) >= MAX_KNOWN:
            del self._heads[next(iter(self._heads))]
        self._heads[message] = head_of(data, " (more)")
