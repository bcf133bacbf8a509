"""One connection after the other, for as long as the program wants one."""

import asyncio
import itertools
import logging
import math
import secrets
import ssl as tls
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from gateway_client.address import Address
from gateway_client.clock import Clock, GatewayTime
from gateway_client.connection import Connection, OnBegin, OnChunk, OnFrame, OnReply
from gateway_client.credential import MOST_REFUSALS, Credential, TokenProblem
from gateway_client.errors import GatewayError, Lost, NoToken, Reconnect, Refused
from gateway_client.hub import Hub
from gateway_client.messages import Welcome
from gateway_client.model import LocalEvent
from gateway_client.opening import open_socket
from gateway_client.returning import Backoff
from gateway_client.rooms import Rooms
from gateway_client.times import Times

log = logging.getLogger("gateway_client")

PROTOCOL = 1
SEND = "chat.send"
BAD_TOKEN = {40001, 40101, 40102, 40300}
"""The statuses of a token that does not hold, or is of another user."""

LONGEST_REPEAT_SECONDS = 80_000.0
"""How long to repeat a message to a room. The gateway remembers a `client_id` for 24 hours."""

BREATH_SECONDS = 1.0
"""The shortest pause before a repeated message is sent once more, after a refusal that time may help."""

State = Literal["idle", "connecting", "open", "waiting", "closed"]


class StateChanged(LocalEvent):
    """The gateway object has another state. `why` says how the last connection ended, unless it is open."""

    type: ClassVar[str] = "state"
    model_config = ConfigDict(arbitrary_types_allowed=True)

    state: State
    why: Lost | None = None


@dataclass(frozen=True)
class Settings:
    """What stays the same over all connections."""

    address: Address
    times: Times
    proxy: bool
    ssl: tls.SSLContext | None
    on_frame: OnFrame | None


class Line:
    """The line to the gateway. Its one task connects, waits, and connects again."""

    def __init__(self, settings: Settings, credential: Credential, clock: Clock, hub: Hub, rooms: Rooms) -> None:
        self.state: State = "idle"
        self.why: Lost | None = None
        self.welcome: Welcome | None = None
        self._settings = settings
        self._times = settings.times
        self._credential = credential
        self._backoff = Backoff(settings.times.first_delay, settings.times.longest_delay)
        self._clock = clock
        self._hub = hub
        self._rooms = rooms
        self._ids = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._ready: Connection | None = None
        """The connection, once its rooms have resumed."""
        self._user = ""
        self._token: str | None = None
        """The token of the connection."""
        self._time: GatewayTime | None = None
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._turn = asyncio.Lock()
        """Is fair, so messages to rooms go out in the order in which they came."""
        self._ended: Lost | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._renewed_at = -math.inf

    def start(self) -> None:
        """Begin to connect. Raise `RuntimeError` the second time."""
        if self._task is not None:
            raise RuntimeError("expected one `async with` for each connect()")
        self._task = asyncio.create_task(self._run(), name="gateway_client")

    async def close(self) -> None:
        """End everything."""
        self._end(Lost("the client has closed the connection", Reconnect.NEVER, final=True), told=None)
        if self._task is not None:
            self._task.cancel()
            try:
                await asyncio.gather(self._task, return_exceptions=True)
            finally:
                await self._credential.close()

    async def check(self) -> None:
        """Let a ping decide whether the connection lives. Without one, try at once to connect."""
        if self._connection is not None:
            await self._connection.check()
        self._hurry.set()

    async def ready(self) -> Connection:
        """Return the connection once it is open. Raise `Lost` if there will be none."""
        self._check_place()
        while True:
            if self._ended is not None:
                raise self._ended.again()
            # One that has just ended is still here: the line's task has not run since.
            if self._ready is not None and self._ready.lost is None:
                return self._ready
            await self._changed.wait()

    async def ask(
        self,
        type: str,
        data: Any,
        *,
        on_reply: OnReply | None = None,
        on_chunk: OnChunk | None = None,
        on_begin: OnBegin | None = None,
        cancels: bool = False,
    ) -> Any:
        """Send a message, and return the data of its reply, as `Connection.call` does. Wait for a connection."""
        if type == SEND and isinstance(data, dict) and on_chunk is None:
            return await self._send(data)
        connection = await self.ready()
        return await connection.call(
            type, data, on_reply=on_reply, on_chunk=on_chunk, on_begin=on_begin, cancels=cancels
        )

    async def _send(self, data: Mapping[str, Any]) -> Any:
        """Send a message to a room, again after each lost connection. Its `client_id` lets the room get it once."""
        data = {**data, "client_id": data.get("client_id") or secrets.token_urlsafe(12)}
        repeated, ends_at = False, self._clock.now() + LONGEST_REPEAT_SECONDS
        while True:
            try:
                return await self._send_in_turn(data, ends_at if repeated else math.inf)
            except Lost as lost:
                if lost.final or self._clock.now() > ends_at:
                    raise
                repeated = True
            except Refused as refused:
                if not (repeated and refused.retryable):
                    raise
                # The message may be stored already, so no refusal of the moment is the answer.
                await asyncio.sleep(max(refused.retry_after_ms / 1000, BREATH_SECONDS))

    async def _send_in_turn(self, data: Mapping[str, Any], ends_at: float) -> Any:
        await self._turn.acquire()
        with ExitStack() as turn:
            turn.callback(self._turn.release)
            connection = await self.ready()
            if self._clock.now() > ends_at:
                raise Lost("the message is too old to be sent again: it may be stored, and the gateway has forgotten")
            return await connection.call(SEND, data, on_begin=lambda *_: turn.close())

    def _check_place(self) -> None:
        if self._task is None and self._ended is None:
            raise RuntimeError("expected `async with connect(…) as gateway` first")
        if self._task is not None and self._task.get_loop() is not asyncio.get_running_loop():
            raise RuntimeError("expected the event loop of `async with`; see asyncio.run_coroutine_threadsafe")

    # ---- one connection after the other ----

    async def _run(self) -> None:
        try:
            while self._goes_on(lost := await self._attempt()):
                delay = self._backoff.after(lost)
                log.warning("%s; connecting again in %.1f s", lost.message, delay)
                self._to("waiting", lost)
                await self._wait(delay, asked=lost.after_ms > 0)
        except asyncio.CancelledError:
            lost = Lost("the client's task was cancelled", Reconnect.NEVER, final=True)
            self._end(lost, told=lost)
            raise
        except Exception as fault:
            log.exception("a fault of this client")
            lost = Lost(f"a fault of this client: {fault!r}", Reconnect.NEVER, final=True)
            self._end(lost, told=lost)

    async def _wait(self, delay: float, *, asked: bool) -> None:
        """Wait before the next attempt. `check` ends it, unless the gateway has asked for the wait."""
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await (asyncio.get_running_loop().create_future() if asked else self._hurry.wait())

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
        settings = self._settings
        try:
            self._token = await self._credential.for_connection()
            ws = await open_socket(
                settings.address, self._token, times=settings.times, proxy=settings.proxy, ssl=settings.ssl
            )
        except NoToken as error:
            return self._without_token(error)
        except TokenProblem as error:
            return _caused(Lost(str(error)), error)
        except Lost as lost:
            return lost
        connection = Connection(ws, self, self._clock, times=settings.times, ids=self._ids, on_frame=settings.on_frame)
        self._connection = connection
        reading = asyncio.create_task(connection.read(), name="gateway_client reader")
        watching = asyncio.create_task(connection.watch(), name="gateway_client watch")
        try:
            return await self._serve(connection, reading)
        finally:
            self._connection = self._ready = None
            try:
                await self._rooms.leave_connection()
                await connection.close()
            finally:
                await _ended(reading, watching, self._renewing)

    def _without_token(self, error: NoToken) -> Lost:
        why = self.why if self.why is not None and self.why.reconnect is Reconnect.NEW_CREDENTIAL else None
        words = f"{why.message}; {error}" if why is not None else str(error)
        code, reason = (why.code, why.reason) if why is not None else (None, "")
        return _caused(Lost(words, Reconnect.NEW_CREDENTIAL, code=code, reason=reason, final=True), error)

    async def _serve(self, connection: Connection, reading: "asyncio.Task[Lost]") -> Lost:
        first: set[asyncio.Future[Any]] = {reading, connection.welcome}
        await asyncio.wait(first, timeout=self._times.welcome, return_when=asyncio.FIRST_COMPLETED)
        if not connection.welcome.done():
            connection.abort(f"no welcome within {self._times.welcome:g} s; is this a gateway?")
        if not connection.welcome.done() or connection.welcome.cancelled():
            return await reading
        if (lost := self._other_user()) is not None:
            return lost
        opened_at = self._clock.now()
        with suppress(Lost):
            await self._rooms.resume(connection)
            self._ready = connection
            self._to("open", None)
        lost = await reading
        self._connection = self._ready = None
        if self._clock.now() - opened_at > self._times.settled:
            self._backoff.reset()
        return lost

    def _other_user(self) -> Lost | None:
        """Return the end of everything if the token is of another user: the rooms and the unsent messages are not."""
        assert self.welcome is not None  # noqa: S101 - it has just come
        self._user = self._user or self.welcome.user
        if self._user == self.welcome.user:
            return None
        words = f"the token is of {self.welcome.user}, and this client is of {self._user}; make another client"
        return Lost(words, Reconnect.NEVER, reason="other_user", final=True)

    def _to(self, state: State, why: Lost | None) -> None:
        if self._ended is not None:
            return
        if state != self.state:
            self.state, self.why = state, why
            self._hub.report(StateChanged(state=state, why=why))
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, lost: Lost, *, told: Lost | None) -> None:
        if self._ended is None:
            self._to("closed", lost)
            self._ended = lost
            if self._connection is not None:
                self._connection.end(lost)
            self._hub.close(told)

    # ---- what the connection reports ----

    def on_welcome(self, data: Any) -> None:
        """Note what the gateway says of this connection, or raise `ValueError`."""
        welcome = Welcome.read(data)
        self._time = GatewayTime(self._clock, welcome.server_time)
        self._credential.accepted(self._time.seconds_until(welcome.token_expires_at))
        self.welcome = welcome
        if welcome.protocol != PROTOCOL:
            log.warning("the gateway speaks version %s of the protocol, and this client %s", welcome.protocol, PROTOCOL)

    def on_event(self, type: str, data: Any) -> None:
        """Deliver an event."""
        if type == "token.expiring":
            self._begin_renewal()
        self._rooms.on_event(type, data, "" if self.welcome is None else self.welcome.user)

    # ---- the token's end ----

    def _begin_renewal(self) -> None:
        if self._connection is None or (self._renewing is not None and not self._renewing.done()):
            return
        if not self._credential.renews:
            log.warning("the token ends, and there is no get_token= for another one")
            return
        self._renewing = asyncio.create_task(self._renew(self._connection), name="gateway_client renewal")

    async def _renew(self, connection: Connection) -> None:
        await asyncio.sleep(max(0.0, self._renewed_at + self._times.rest - self._clock.now()))
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


def _caused(lost: Lost, error: Exception) -> Lost:
    lost.__cause__ = error
    return lost


async def _ended(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel tasks, and wait for their end."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
