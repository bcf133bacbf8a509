"""The gateway object: what a program says and hears."""

import asyncio
import ssl as tls
from typing import Any, Self, TypeVar, overload

from gateway_client.address import address_of
from gateway_client.clock import Clock
from gateway_client.connection import OnFrame
from gateway_client.credential import Credential, GetToken
from gateway_client.errors import Lost
from gateway_client.events import MOST_EVENTS, Events
from gateway_client.hub import Hub
from gateway_client.kinds import parts_of, reply_as, wanted
from gateway_client.line import Line, Settings, State
from gateway_client.messages import MESSAGES, Welcome
from gateway_client.model import AnyEvent, ClientMessage, Event, StreamingMessage
from gateway_client.room import Room
from gateway_client.rooms import Rooms
from gateway_client.stream import Stream
from gateway_client.times import Times

OPEN_SECONDS = 30.0
"""How long `async with connect(…)` tries to open the first connection."""

Reply = TypeVar("Reply")
Chunk = TypeVar("Chunk")
E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
G = TypeVar("G", bound=Event)


def connect(
    url: str,
    *,
    token: str | None = None,
    get_token: GetToken | None = None,
    service: str | None = None,
    rooms: bool = False,
    open_timeout: float | None = OPEN_SECONDS,
    max_events: int = MOST_EVENTS,
    proxy: bool = True,
    ssl: tls.SSLContext | None = None,
    on_frame: OnFrame | None = None,
    times: Times | None = None,
    clock: Clock | None = None,
) -> "Gateway":
    """Return a gateway object for `async with`, which connects and comes back until the block ends.

    `url` is the origin of the gateway or a prefix of its path, with http, https, ws or wss. `get_token` gets a
    `TokenRequest` whenever a token is needed; it may be `async`. A plain `token` is never renewed. The block begins
    with an open connection, or raises `Lost` with what to check: at once if coming back is useless, and otherwise after
    `open_timeout` seconds. `on_frame` sees each frame, with tokens in it.
    """
    clock, times = clock or Clock(), times or Times()
    hub = Hub(max_events)
    of_rooms = Rooms(hub, times)
    settings = Settings(address_of(url, service=service, rooms=rooms), times, proxy, ssl, on_frame)
    line = Line(settings, Credential(token, get_token, clock, times), clock, hub, of_rooms)
    return Gateway(line, hub, of_rooms, open_timeout)


class Gateway:
    """A gateway to talk with. `connect` makes it."""

    def __init__(self, line: Line, hub: Hub, rooms: Rooms, open_timeout: float | None) -> None:
        self._line = line
        self._hub = hub
        self._rooms = rooms
        self._open_timeout = open_timeout

    async def __aenter__(self) -> Self:
        self._line.start()
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._line.ready()
        except TimeoutError:
            why = self.why or Lost("no connection")
            await self.close()
            raise why.ended(f"gave up after {self._open_timeout:g} s") from why
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """Return `idle`, `connecting`, `open`, `waiting` (before the next attempt) or `closed`."""
        return self._line.state

    @property
    def why(self) -> Lost | None:
        """Return how the last connection ended, until the next one is open."""
        return self._line.why

    @property
    def welcome(self) -> Welcome | None:
        """Return the last welcome."""
        return self._line.welcome

    @property
    def user(self) -> str:
        """Return the name of the user, or nothing before the first welcome."""
        return "" if self._line.welcome is None else self._line.welcome.user

    async def opened(self) -> None:
        """Wait until a connection is open. Raise `Lost` if there will be none."""
        await self._line.ready()

    async def close(self) -> None:
        """Close the connection, and end all calls and loops. Do nothing if it is closed."""
        await self._line.close()

    async def check(self) -> None:
        """Let a ping decide within seconds whether the connection lives, or try at once to connect without one.

        Call it when the network has changed.
        """
        await self._line.check()

    @overload
    async def call(self, message: ClientMessage[Reply], /) -> Reply: ...
    @overload
    async def call(self, message: str, data: Any = None, /) -> Any: ...
    async def call(self, message: ClientMessage[Any] | str, data: Any = None, /) -> Any:
        """Send a message, and return the data of its reply: a model for a model, and else what JSON has.

        Raise `Refused` for an error, and `Lost` if the connection ends before the answer. Without a connection, wait
        for one; `asyncio.timeout` bounds it. A `chat.send` is sent again, once the rooms have resumed.
        """
        kind, content, model = parts_of(message, data)
        on_reply = self._rooms.on_reply_to(kind, content)
        answer = await self._line.ask(kind, content, on_reply=on_reply, cancels=kind not in MESSAGES)
        return reply_as(model, kind, answer)

    @overload
    def stream(self, message: StreamingMessage[Any, Reply, Chunk], /) -> Stream[Chunk, Reply]: ...
    @overload
    def stream(self, message: ClientMessage[Reply], /) -> Stream[Any, Reply]: ...
    @overload
    def stream(self, message: str, data: Any = None, /) -> Stream[Any, Any]: ...
    def stream(self, message: ClientMessage[Any] | str, data: Any = None, /) -> Stream[Any, Any]:
        """Return the chunks of an answer, for `async for`. `reply` is the closing reply.

        Use it with `async with`: leaving the block cancels the message. The loop raises what `call` raises.
        """
        return Stream(self._line, *parts_of(message, data))

    @overload
    def events(self, *, most: int | None = None) -> Events[Event | AnyEvent]: ...
    @overload
    def events(self, kind: str, /, *, most: int | None = None) -> Events[AnyEvent]: ...
    @overload
    def events(self, kind: type[E], /, *, most: int | None = None) -> Events[E]: ...
    @overload
    def events(self, kind: type[E], other: type[F], /, *, most: int | None = None) -> Events[E | F]: ...
    @overload
    def events(
        self, kind: type[E], other: type[F], third: type[G], /, *, most: int | None = None
    ) -> Events[E | F | G]: ...
    @overload
    def events(self, *kinds: type[Event], most: int | None = None) -> Events[Any]: ...
    def events(self, *kinds: Any, most: int | None = None) -> Events[Any]:
        """Return the events of some kinds, or of all, for `async for`. It listens from now on.

        At most `most` events wait for the loop. One more is dropped, and the loop gets `Overflowed` in its place. The
        loop ends when the gateway is closed, with `Lost` if that was not the program's own wish.
        """
        return self._hub.listen(wanted(kinds), most=most)

    def room(self, name: str) -> Room:
        """Return the room of this name. It is not joined before `join()`."""
        return Room(self._rooms.log_of(name), self._line, self._hub, self._rooms)
