"""The actions of an app: register, log in, connect, send, expect. Every wait has a timeout."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.core.client_info import ClientInfo
from gateway.state import GatewayState
from gateway.store import users
from gateway.testing import Gateway
from handlers.errors import MessageError
from schemas.names import normalized_user_name
from schemas.users import NewUser

WAIT_SECONDS = 20
PASSWORD = "correct horse battery staple"
CLOSE_SECONDS = 1
"""How long a client waits for the end that it asks for: one that has stopped reading never hears of it."""

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The TLS context for plain HTTP. By default each client reads all of the machine's certificates, for 50 ms."""

Frame = dict[str, Any]


class ChatClient:
    """A client of the chat socket."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.welcome: Frame = {}
        self.ignored = {"presence.changed"}
        self._ids = itertools.count(1)

    async def send(self, frame: Frame | str | bytes) -> None:
        """Send a frame as it is, or a message as JSON."""
        await self.ws.send(json.dumps(frame, ensure_ascii=False) if isinstance(frame, dict) else frame)

    async def next(self) -> Frame:
        """Return the next frame that is not ignored: presence comes and goes in tests that are not about it."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                frame: Frame = json.loads(await self.ws.recv())
                if frame["type"] not in self.ignored:
                    return frame

    async def expect(self, type: str, **parts: Any) -> Frame:
        """Take the next frame, which must have this type and these parts. Return its data, or else the frame."""
        frame = await self.next()
        assert frame["type"] == type, frame
        known = frame | frame["data"] if isinstance(frame.get("data"), dict) else frame
        for name, value in parts.items():
            assert known.get(name) == value, (name, frame)
        data: Frame = frame.get("data", frame)
        return data

    async def ask(self, type: str, **data: Any) -> Frame:
        """Send a message, and return its reply's data. The next frame must be that reply."""
        return await self.expect("reply", id=await self.start(type, **data), status=20000)

    async def refused(self, type: str, **data: Any) -> Frame:
        """Send a message, and return the error that answers it."""
        return await self.expect("error", id=await self.start(type, **data))

    async def say(self, room: str, text: str, **more: Any) -> Frame:
        """Send a message to a joined room, and return it as stored."""
        message: Frame = (await self.ask("chat.send", room=room, text=text, **more))["message"]
        assert await self.expect("chat.message") == message
        return message

    async def start(self, type: str, **data: Any) -> int:
        """Send a message, and return its id; `until` finds the answer."""
        number = next(self._ids)
        await self.send({"type": type, "id": number, "data": data})
        return number

    async def until(self, **parts: Any) -> Frame:
        """Take frames up to the one with these parts, and return that one."""
        while True:
            frame = await self.next()
            if all(frame.get(name) == value for name, value in parts.items()):
                return frame

    async def heard(self) -> list[Frame]:
        """Take the events that were on their way: those before the reply to a ping."""
        number = await self.start("ping")
        events = []
        while (frame := await self.next()).get("id") != number:
            events.append(frame)
        return events

    async def expect_nothing(self) -> None:
        """Check that nothing was on its way: the reply to a ping is the next frame."""
        await self.ask("ping")

    async def expect_revoked(self) -> None:
        """Expect to be cut off because the session has ended, before the look at all sessions once a minute."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.expect("bye", code=4411, reason="token_revoked", reconnect="new_credential")
            await self.expect_close(4411, "token_revoked")

    async def expect_close(self, code: int, reason: str) -> None:
        """Expect the end without another frame before it."""
        with pytest.raises(ConnectionClosed) as closed:
            await self.next()
        assert closed.value.rcvd is not None, "the connection was cut without a close frame"
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)


async def _log_in(gateway: GatewayState, name: str) -> str:
    """Do what registration and log-in do, without HTTP and without a second hash."""
    client = ClientInfo("127.0.0.1", f"python-httpx2/{httpx2.__version__}")
    try:
        user = await gateway.password_login.register(NewUser(username=name, password=PASSWORD), client)
    except MessageError:  # as `grant`, which only asks whether the log-in works
        found = await gateway.database.query(partial(users.by_name, name=normalized_user_name(name)))
        assert found is not None
        user = found
    return (await gateway.login_sessions.create(user, frozenset(), client)).access_token


class App:
    """An app on a phone: it knows the gateway, and speaks HTTP with it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        # Without the environment's proxies, which would be read again for each client.
        self.http = httpx2.AsyncClient(
            base_url=gateway.url, timeout=WAIT_SECONDS, verify=NO_AUTHORITIES, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def register(self, name: str, password: str = PASSWORD) -> httpx2.Response:
        """Register a user."""
        return await self.http.post("/users", json={"username": name, "password": password})

    async def log_in(self, name: str, password: str = PASSWORD, **form: str) -> httpx2.Response:
        """Log in."""
        return await self.http.post("/token", data={"username": name, "password": password, **form})

    async def grant(self, name: str) -> Frame:
        """Log in as a user, and register the user first if necessary."""
        await self.register(name)
        response = await self.log_in(name)
        assert response.status_code == 200, response.text
        grant: Frame = response.json()
        return grant

    async def token(self, name: str) -> str:
        """Log in like `grant`, and return the access token: with a gateway of this process, at a fifth of the cost."""
        if isinstance(self.gateway, Gateway):
            return await self.gateway.run(_log_in(self.gateway.state, name))
        token: str = (await self.grant(name))["access_token"]
        return token

    async def refresh(self, refresh_token: str, **form: str) -> httpx2.Response:
        """Continue with a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **form}
        return await self.http.post("/token", data=form)

    async def ask(self, method: str, path: str, token: str, **content: Any) -> httpx2.Response:
        """Send a request to the HTTP API with an access token."""
        return await self.http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **content)

    @asynccontextmanager
    async def socket(self, query: str = "", **options: Any) -> AsyncIterator[ChatClient]:
        """Open the chat socket with a query of the test's choice."""
        options = {"compression": None, "proxy": None, "close_timeout": CLOSE_SECONDS} | options
        async with connect(f"{self.gateway.ws_url}/ws/chat{query}", **options) as ws:
            yield ChatClient(ws)

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[ChatClient]:
        """Connect as a user, up to the welcome."""
        async with self.socket(f"?token={await self.token(name)}") as client:
            client.welcome = await client.expect("welcome", user=name)
            yield client

    @asynccontextmanager
    async def connect_with(self, token: str) -> AsyncIterator[ChatClient]:
        """Connect with an access token, up to the welcome."""
        async with self.socket(f"?token={token}") as client:
            client.welcome = await client.expect("welcome")
            yield client

    @asynccontextmanager
    async def in_room(self, name: str, room: str) -> AsyncIterator[ChatClient]:
        """Connect as a user and join a room."""
        async with self.connect(name) as client:
            await client.ask("room.join", room=room)
            yield client

    @asynccontextmanager
    async def gather(
        self, room: str, roles: dict[str, str], *, private: bool = False
    ) -> AsyncIterator[list[ChatClient]]:
        """Connect users to a new room with these roles. The first one has made it."""
        async with AsyncExitStack() as stack:
            maker, *others = [await stack.enter_async_context(self.connect(name)) for name in roles]
            await maker.ask("room.create", room=room, private=private)
            for client, (name, role) in zip(others, list(roles.items())[1:], strict=True):
                await maker.ask("room.invite", room=room, user=name)
                await client.expect("room.invited")
                await client.ask("room.join", room=room)
                await maker.ask("room.role", room=room, user=name, role=role)
            await maker.ask("room.join", room=room)
            for client in others:
                await client.heard()
            yield [maker, *others]
