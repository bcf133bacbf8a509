"""Signals and custom states, which the gateway does not store. A terminal shows them, but not each of a flood."""

import json
import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from gateway.cli.chat.wording import clean

QUIET_SECONDS = 3.0
"""How long after one signal the next one of the same user and name is not shown."""

MAX_KNOWN = 1000
"""Signals and states to remember. Beyond it, all are forgotten."""


class Passing:
    """Makes lines of signals and custom states."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], float] = {}
        self._states: dict[str, Any] = {}

    def line_of(self, type: str, data: Mapping[str, Any]) -> Text | None:
        """Return an event as a line, or None if it is another one, says nothing new, or comes too early."""
        match type:
            case "room.signal":
                return self._signal(str(data.get("user")), str(data.get("name")), data.get("data"))
            case "presence.changed":
                return self._state(str(data.get("user")), data.get("custom_state"))
        return None

    def _signal(self, user: str, name: str, data: Any) -> Text | None:
        now = time.monotonic()
        if now - self._shown.get((user, name), -QUIET_SECONDS) < QUIET_SECONDS:
            return None
        if len(self._shown) >= MAX_KNOWN:
            self._shown.clear()
        self._shown[user, name] = now
        words = "" if data is None else f" {json.dumps(data, ensure_ascii=False)}"
        return Text(clean(f"~ {user} signals {name}{words}"), style="dim")

    def _state(self, user: str, state: Any) -> Text | None:
        if state == self._states.get(user):
            return None
        if len(self._states) >= MAX_KNOWN:
            self._states.clear()
        if state is None:
            del self._states[user]
            return Text(clean(f"· {user} has no state any more"), style="dim")
        self._states[user] = state
        return Text(clean(f"· {user} is {json.dumps(state, ensure_ascii=False)}"), style="dim")
