"""The live gateway behind the unreliable server, with its users, their tokens and a few messages of its own."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import httpx2

from gateway.core.client_info import operator
from gateway.store import users
from gateway.store.users import UserRow
from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, Registry
from schemas.base import Wire
from schemas.users import NewUser

SCOPES = frozenset({"chat:read", "chat:write", "rooms:manage"})
HEARTBEAT_SECONDS = 25.0
TOKEN_SECONDS = 900

_numbers = count(1)


class Telling(Wire):
    """A story in parts, with a pause before each."""

    parts: int
    pause_ms: int = 0


class Told(Wire):
    """How many parts there were."""

    parts: int


class TellHandler(MsgHandler[Telling, Told]):
    """Streams texts that count from 1."""

    schema = Telling
    examples: ClassVar[tuple[Any, ...]] = ({"parts": 2},)

    async def handle(self, data: Telling) -> AsyncGenerator[str, None]:
        """Yield the parts."""
        for number in range(1, data.parts + 1):
            await asyncio.sleep(data.pause_ms / 1000)
            yield f"{number} "


class Named(Wire):
    """A name in any script."""

    größe: str


class NamedHandler(MsgHandler[Named, Named]):
    """Returns the name."""

    schema = Named

    async def handle(self, data: Named) -> Named:
        """Return it."""
        return data


REGISTRY = BUILT_IN | Registry(handlers={"story.tell": TellHandler, "spiel-würfel.größe": NamedHandler})


class World:
    """A gateway, with a clock that may differ from this machine's."""

    def __init__(self, clock_seconds: float) -> None:
        self._clock_seconds = clock_seconds
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self._http = httpx2.AsyncClient(trust_env=False, timeout=20)
        self._sessions: dict[str, tuple[str, str]] = {}
        self._registering = asyncio.Lock()
        self._users: dict[str, UserRow] = {}
        self.gateway: Gateway

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await asyncio.to_thread(self._stack.close)

    async def restart(self) -> None:
        """Stop the gateway, and start it again with the same store on another port."""
        await asyncio.to_thread(self._running.close)
        await self._start()

    async def _start(self) -> None:
        settings = settings_for_tests(
            self._folder,
            token_minutes=TOKEN_SECONDS / 60,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_connections_per_user=0,
            drain_seconds=0.5,
        )
        self._running = self._stack.enter_context(ExitStack())
        starting = running_gateway(settings, registry=REGISTRY)
        self.gateway = await asyncio.to_thread(self._running.enter_context, starting)
        self.gateway.clock.ahead = self._clock_seconds

    async def token(self, user: str, seconds: float = TOKEN_SECONDS) -> str:
        """Return a new token of a user, and register the user first if necessary."""
        async with self._registering:  # the gateway hashes few passwords at a time
            return await self.gateway.run(self._token(user, seconds))

    async def call(self, user: str, type_: str, data: dict[str, Any]) -> dict[str, Any]:
        """Send a message as another user, and return the data of its reply. Raise `ValueError` for an error."""
        headers = {"Authorization": f"Bearer {await self.token(user)}", "Content-Type": "application/json"}
        answer = await self._http.post(f"{self.gateway.url}/call/{type_}", content=json.dumps(data), headers=headers)
        if answer.status_code != httpx2.codes.OK:
            raise ValueError(f"{type_} of {user}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def _token(self, name: str, seconds: float) -> str:
        user_id, session_id = self._sessions.get(name) or await self._register(name)
        state = self.gateway.state
        return state.tokens.issue(user_id, SCOPES, session_id=session_id, lifetime_seconds=round(seconds))

    async def end_session(self, user: str) -> None:
        """End the session of a user's tokens, and begin another one for the next tokens."""
        await self.gateway.run(self._end_session(user))

    async def _end_session(self, name: str) -> None:
        user_id, session_id = self._sessions[name]
        await self._begin_session(name)  # first, since the client asks for another token at once
        await self.gateway.state.login_sessions.end(user_id, operator(), "session_ended", only=session_id)

    async def _register(self, name: str) -> tuple[str, str]:
        state = self.gateway.state
        new = NewUser(username=name, password=secrets.token_urlsafe(16))
        self._users[name] = await state.password_login.register(new, operator())
        scopes = " ".join(sorted(SCOPES))
        await state.database.transact(partial(users.set_scopes, name=name, scopes=scopes))
        return await self._begin_session(name)

    async def _begin_session(self, name: str) -> tuple[str, str]:
        user = replace(self._users[name], scopes=" ".join(sorted(SCOPES)))
        state = self.gateway.state
        grant = await state.login_sessions.create(user, SCOPES, operator())
        self._sessions[name] = user.id, state.tokens.verify(grant.access_token).sid
        return self._sessions[name]


def unique(name: str) -> str:
    """Return a name that no other story of this process uses."""
    return f"{name}-{next(_numbers)}"
