"""The stage of a story: its parts, its names, and how its steps wait."""

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.conformance.driver import BrokenDriver, Driver
from gateway.conformance.journal import Journal
from gateway.conformance.matching import Names, filled, fits
from gateway.conformance.server import UnreliableServer
from gateway.conformance.world import World, unique

NONSENSE = {"nonsense": "no.token.at-all", "garbage": "no token at all\n,"}
"""Tokens that are none. The second one fits into no header and no subprotocol."""


class Failed(Exception):
    """The client did something else than the story expects."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


@dataclass
class Stage:
    """What the steps of one story share."""

    driver: Driver
    server: UnreliableServer
    world: World
    journal: Journal
    scale: float
    patience: float
    token_seconds: float
    names: Names = field(default_factory=dict)
    tokens: deque[Any] = field(default_factory=deque)
    """How the next requests for a token are answered. A further one gets a new token."""
    commands: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    """The answers to the commands that a story has named."""
    ids: dict[str, int] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    """How many entries of a kind the story has looked at."""
    newest_token: str = ""
    step: int = 0
    """The number of the present step."""
    people: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names |= {name: unique(name) for name in ("room", "room2", "room3", "user")}
        self._answering: set[asyncio.Task[None]] = set()

    def notice(self, kind: str, data: dict[str, Any]) -> None:
        """Take a notice of the driver."""
        self.journal.add(kind, **data)
        if kind == "token":
            task = asyncio.ensure_future(self._answer_token(data))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer_token(self, data: dict[str, Any]) -> None:
        how = self.tokens.popleft() if self.tokens else "new"
        if how == "hangs":
            return
        if isinstance(how, dict):
            await asyncio.sleep(how.get("ms", 0) / 1000)
        self.driver.write({"type": "token", "data": {"request": data.get("request"), **await self._token(how)}})

    async def _token(self, how: Any) -> dict[str, str]:
        if how == "throws":
            return {"error": "the log-in service is down"}
        if how == "old":
            return {"token": self.newest_token}
        if isinstance(how, str) and how in NONSENSE:
            return {"token": NONSENSE[how]}
        seconds = how.get("seconds", self.token_seconds) if isinstance(how, dict) else self.token_seconds
        self.newest_token = await self.world.token(self.names["user"], seconds)
        self.names["token"] = self.newest_token
        return {"token": self.newest_token}

    def person(self, name: str) -> str:
        """Return the real name of another user of this story."""
        return self.people.setdefault(name, unique(name))

    def begin(self, do: str, data: dict[str, Any], name: str) -> asyncio.Future[dict[str, Any]]:
        """Send the driver a command, and keep its answer under a name."""
        number, answer = self.driver.begin(do, filled(data, self.names))
        self.commands[name], self.ids[name] = answer, number
        return answer

    async def answer(self, name: str, seconds: float) -> dict[str, Any]:
        """Return the answer to a command."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self.commands[name])
        except TimeoutError:
            raise Failed(f"the client's answer to `{name}` within {seconds:g} s", "none") from None
        except BrokenDriver as broken:
            raise Failed(f"the client's answer to `{name}`", str(broken)) from None

    async def find(self, kind: str, match: Any, seconds: float) -> None:
        """Wait for an entry that fits, after the entries that the story has looked at. Raise `Failed` if none comes."""
        first = self.cursors.get(kind, 0)

        def is_there() -> bool:
            entries = self.journal.of(kind)
            for place in range(first, len(entries)):
                if fits(match, entries[place].data, self.names):
                    self.cursors[kind] = place + 1
                    return True
            return self.driver.problem is not None

        await self.journal.until(is_there, seconds)
        if self.cursors.get(kind, 0) == first:
            raise Failed(f"{kind} {shown(filled(match, self.names))} within {seconds:g} s", self._got(kind, first))

    def fitting(self, kind: str, match: Any, first: int = 0) -> list[dict[str, Any]]:
        """Return the entries that fit."""
        return [entry.data for entry in self.journal.of(kind)[first:] if fits(match, entry.data, dict(self.names))]

    def _got(self, kind: str, first: int) -> str:
        if self.driver.problem is not None:
            return self.driver.problem
        entries = self.journal.of(kind)[first:]
        return "none" if not entries else ", ".join(shown(entry.data) for entry in entries[-3:])

    async def end(self) -> None:
        """Forget what the story still waits for."""
        for task in list(self._answering):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def shown(value: Any) -> str:
    """Return a value for a line of the report."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 240 else f"{text[:237]}…"
