"""The gateway object: one socket at a time, for as long as the program wants it."""

import asyncio
import itertools
import logging
import math
import secrets
import ssl as tls
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeVar, overload

from pydantic import ConfigDict

from gateway_client import messages
from gateway_client.address import Address, address_of
from gateway_client.clock import Clock, GatewayTime
from gateway_client.connection import WELCOME_SECONDS, Connection, OnFrame
from gateway_client.credential import MOST_REFUSALS, Credential, GetToken, TokenProblem
from gateway_client.errors import GatewayError, Lost, NoToken, Reconnect, Refused
from gateway_client.events import MOST_EVENTS, Events, Wants
from gateway_client.kinds import parts_of, reply_as, wanted
from gateway_client.messages import Welcome
from gateway_client.model import AnyEvent, ClientMessage, Event
from gateway_client.opening import open_socket
from gateway_client.returning import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Backoff

log = logging.getLogger("gateway_client")

PROTOCOL = 1
SEND = "chat.send"
BAD_TOKEN = {40001, 40101, 40102}
"""The statuses of a token that does not hold."""

RENEWAL_SECONDS = 10.0
"""The shortest time between two tokens for one connection."""

OPEN_SECONDS = 30.0
"""How long `async with connect(…)` tries to open the first connection."""

SETTLED_SECONDS = 5.0
"""A connection that has lasted so long was good: the delays begin anew after it."""

State = Literal["idle", "connecting", "open", "waiting", "closed"]
R = TypeVar("R")
E = TypeVar("E", bound=Event)


def connect(
    url: str,
    *,
    token: str | None = None,
    get_token: GetToken | None = None,
    service: str | None = None,
    rooms: bool = False,
    open_timeout: float | None = OPEN_SECONDS,
    first_delay: float = FIRST_DELAY_SECONDS,
    longest_delay: float = LONGEST_DELAY_SECONDS,
    max_events: int = MOST_EVENTS,
    proxy: bool = True,
    ssl: tls.SSLContext | None = None,
    on_frame: OnFrame | None = None,
    clock: Clock | None = None,
) -> "Gateway":
    """Return a gateway object for `async with`, which connects and comes back until the block ends.

    `url` is the origin of the gateway or a prefix of its path, with any of http, https, ws and wss. `get_token` is
    called with a `TokenRequest` whenever a token is needed; it may be `async`. A plain `token` lasts as long as it
    lasts. The block begins with an open connection, or raises `Lost` with what to check after `open_timeout` seconds.
    """
    clock = clock or Clock()
    return Gateway(
        Settings(address_of(url, service=service, rooms=rooms), open_timeout, max_events, proxy, ssl, on_frame),
        Credential(token, get_token, clock),
        Backoff(first_delay, longest_delay),
        clock,
    )


@dataclass(frozen=True)
class Settings:
    """What stays the same over all connections."""

    address: Address
    open_timeout: float | None
    max_events: int
    proxy: bool
    ssl: tls.SSLContext | None
    on_frame: OnFrame | None


class StateChanged(Event):
    """The gateway object has another state. `why` says how the last connection ended, unless it is open."""

    type: ClassVar[str] = "state"
    model_config = ConfigDict(arbitrary_types_allowed=True)

    state: State
    why: Lost | None = None


class Gateway:
    """A gateway to talk with. `connect` makes it."""

    def __init__(self, settings: Settings, credential: Credential, backoff: Backoff, clock: Clock) -> None:
        self.state: State = "idle"
        self.why: Lost | None = None
        """How the last connection ended, until the next one is open."""
        self.welcome: Welcome | None = None
        self._settings = settings
        self._credential = credential
        self._backoff = backoff
        self._clock = clock
        self._ids = itertools.count(1)
        self._supervisor: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._token: str | None = None
        """The token of the connection."""
        self._time: GatewayTime | None = None
        self._changed = asyncio.Event()
        self._ended: Lost | None = None
        self._events: weakref.WeakSet[Events[Any]] = weakref.WeakSet()
        self._renewing: asyncio.Task[None] | None = None
        self._renewed_at = -math.inf

    async def __aenter__(self) -> Self:
        if self._supervisor is not None:
            raise RuntimeError("expected one `async with` for each connect()")
        self._supervisor = asyncio.create_task(self._run(), name="gateway_client")
        try:
            async with asyncio.timeout(self._settings.open_timeout):
                await self.opened()
        except TimeoutError:
            why = self.why or Lost("no connection")
            await self.close()
            raise why.ended(f"gave up after {self._settings.open_timeout} s") from why
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def user(self) -> str:
        """Return the name of the user, or nothing before the first welcome."""
        return "" if self.welcome is None else self.welcome.user

    async def opened(self) -> None:
        """Wait until a connection is open. Raise `Lost` if there will be none."""
        await self._open_connection()

    async def close(self) -> None:
        """Close the connection, and end all calls and loops. Do nothing if it is closed."""
        self._end(Lost("the client has closed the connection", Reconnect.NEVER, final=True), told=None)
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._credential.close()

    async def check(self) -> None:
        """Let a ping decide within seconds whether the connection lives. Call it when the network has changed."""
        if self._connection is not None:
            await self._connection.check()

    @overload
    async def call(self, message: ClientMessage[R], /) -> R: ...
    @overload
    async def call(self, message: str, data: Any = None, /) -> Any: ...
    async def call(self, message: ClientMessage[Any] | str, data: Any = None, /) -> Any:
        """Send a message, and return the data of its reply: a model for a model, and else what JSON has.

        Raise `Refused` for an error, and `Lost` if the connection ends before the answer. Without a connection, wait
        for one; `asyncio.timeout` bounds it. A `chat.send` is sent again, once the rooms have resumed.
        """
        kind, content, model = parts_of(message, data)
        return reply_as(model, kind, await self._ask(kind, content))

    @overload
    def events(self, *, most: int | None = None) -> Events[Event | AnyEvent]: ...
    @overload
    def events(self, kind: str, /, *, most: int | None = None) -> Events[AnyEvent]: ...
    @overload
    def events(self, kind: type[E], /, *more: type[E], most: int | None = None) -> Events[E]: ...
    def events(self, *kinds: Any, most: int | None = None) -> Events[Any]:
        """Return the events of some kinds, or of all, for `async for`. It listens from now on.

        At most `most` events wait for the loop. One more is dropped, and the loop gets `Overflowed` in its place. The
        loop ends when the gateway is closed, with `Lost` if that was not the program's own wish.
        """
        return self._listen(wanted(kinds), most)

    def _listen(self, wants: Wants, most: int | None, room: str | None = None) -> Events[Any]:
        events: Events[Any] = Events(wants, most=most or self._settings.max_events, room=room)
        if self._ended is not None:
            events.close(self._ended)
        self._events.add(events)
        return events

    # ---- sending ----

    async def _open_connection(self) -> Connection:
        while True:
            if self._ended is not None:
                raise self._ended.again()
            if self._connection is not None:
                return self._connection
            await self._changed.wait()

    async def _ask(self, type: str, data: Any) -> Any:
        if type == SEND and isinstance(data, dict):
            return await self._send(data)
        connection = await self._open_connection()
        return await connection.call(type, data, cancels=type not in messages.MESSAGES)

    async def _send(self, data: Mapping[str, Any]) -> Any:
        """Send a message to a room, again after each lost connection. Its `client_id` lets the room get it once."""
        data = {"client_id": secrets.token_urlsafe(12), **data}
        while True:
            connection = await self._open_connection()
            with suppress(Lost):
                return await connection.call(SEND, data)

    # ---- one connection after the other ----

    async def _run(self) -> None:
        try:
            while self._goes_on(lost := await self._attempt()):
                delay = self._backoff.after(lost)
                log.warning("%s; connecting again in %.1f s", lost.message, delay)
                self._to("waiting", lost)
                await asyncio.sleep(delay)
        except Exception as fault:
            log.exception("a fault of this client")
            lost = Lost(f"a fault of this client: {fault!r}", Reconnect.NEVER, final=True)
            self._end(lost, told=lost)

    def _goes_on(self, lost: Lost) -> bool:
        """Return whether to come back, and end everything if not."""
        if lost.reconnect is Reconnect.NEW_CREDENTIAL:
            self._credential.refused(self._token)
        # Once there was a gateway at this address, a strange answer comes from something in front of it.
        is_strange = lost.code is None and not lost.reason
        if lost.final or (lost.reconnect is Reconnect.NEVER and not (is_strange and self.welcome)):
            self._end(lost.ended(), told=lost.ended())
            return False
        return True

    async def _attempt(self) -> Lost:
        """Connect, serve the connection to its end, and return how it ended."""
        self._to("connecting", self.why)
        try:
            self._token = await self._credential.for_connection()
            ws = await open_socket(
                self._settings.address, self._token, proxy=self._settings.proxy, ssl=self._settings.ssl
            )
        except NoToken as error:
            return Lost(str(error), Reconnect.NEVER, final=True)
        except TokenProblem as error:
            return Lost(str(error))
        except Lost as lost:
            return lost
        connection = Connection(ws, self, self._clock, self._ids, self._settings.on_frame)
        reading = asyncio.create_task(connection.read(), name="gateway_client reader")
        watching = asyncio.create_task(connection.watch(), name="gateway_client watch")
        try:
            return await self._serve(connection, reading)
        finally:
            self._connection = None
            tasks = [reading, watching, *([self._renewing] if self._renewing else [])]
            try:
                await connection.close()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, connection: Connection, reading: "asyncio.Task[Lost]") -> Lost:
        first: set[asyncio.Future[Any]] = {reading, connection.welcome}
        await asyncio.wait(first, timeout=WELCOME_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not connection.welcome.done():
            connection.abort(f"no welcome within {WELCOME_SECONDS:.0f} s; is this a gateway?")
        if not connection.welcome.done() or connection.welcome.cancelled():
            return await reading
        self._connection = connection
        self._to("open", None)
        opened_at = self._clock.now()
        lost = await reading
        self._connection = None
        if self._clock.now() - opened_at > SETTLED_SECONDS:
            self._backoff.reset()
        return lost

    # ---- events ----

    def on_welcome(self, data: Any) -> None:
        """Note what the gateway says of this connection, or raise `ValueError`."""
        welcome = Welcome.read(data)
        self._time = GatewayTime(self._clock, welcome.server_time)
        self._credential.accepted(self._time.seconds_until(welcome.token_expires_at))
        self.welcome = welcome
        if welcome.protocol != PROTOCOL:
            log.warning("the gateway speaks version %s of the protocol, and this client %s", welcome.protocol, PROTOCOL)

    def on_event(self, type: str, data: Any) -> None:
        """Deliver an event to the loops that want it."""
        if type == "token.expiring":
            self._begin_renewal()
        self._offer(type, data)

    def _offer(self, type: str, data: Any, room: str | None = None) -> None:
        for events in tuple(self._events):
            if events.room is None or events.room == room:
                events.offer(type, data)

    def _to(self, state: State, why: Lost | None) -> None:
        if self._ended is not None:
            return
        if state != self.state:
            self.state, self.why = state, why
            self._offer(StateChanged.type, StateChanged(state=state, why=why))
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, lost: Lost, *, told: Lost | None) -> None:
        if self._ended is None:
            self._to("closed", lost)
            self._ended = lost
            for events in tuple(self._events):
                events.close(told)

    # ---- the token's end ----

    def _begin_renewal(self) -> None:
        if self._credential.renews and self._connection is not None and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._connection), name="gateway_client renewal")
            self._renewing.add_done_callback(self._renewed)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a fault of this client", exc_info=fault)

    async def _renew(self, connection: Connection) -> None:
        # Some gateways announce the end of a new token at once.
        await asyncio.sleep(max(0.0, self._renewed_at + RENEWAL_SECONDS - self._clock.now()))
        for _ in range(MOST_REFUSALS):
            self._renewed_at = self._clock.now()
            try:
                await self._refresh(connection, await self._credential.renew("expiring"))
            except Lost:
                return
            except GatewayError as error:
                log.warning("the token ends, and there is no new one yet: %s", error)
            else:
                return

    async def _refresh(self, connection: Connection, token: str) -> None:
        if token == self._token:
            raise TokenProblem("get_token has returned the token that ends")
        try:
            answer = await connection.call("auth.refresh", {"token": token})
        except Refused as refused:
            if refused.status in BAD_TOKEN:
                self._credential.refused(token)
            raise
        self._token = token
        assert self._time is not None  # noqa: S101 - the welcome came before
        with suppress(ValueError, TypeError, LookupError):
            self._credential.accepted(self._time.seconds_until(answer["token_expires_at"]))
