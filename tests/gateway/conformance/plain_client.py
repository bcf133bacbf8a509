"""A client that keeps each rule in as few lines as it takes, and breaks the ones that a test names.

It shows that a story fails for the client that breaks its rule, and for no other. See `plain_driver.py`.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

Frame = dict[str, Any]

PING_SECONDS = 5
WELCOME_SECONDS = 10
TOKEN_SECONDS = 30
FIRST_WAIT = 1
LONGEST_WAIT = 30
ENDING_SECONDS = 60
MAX_ROOMS = 128
AFTER_CLOSE = {
    1000: "never",
    1008: "new_credential",
    4400: "never",
    4403: "never",
    4410: "new_credential",
    4411: "new_credential",
}
RECONNECTS = {"never", "new_credential", "after_delay", "with_backoff"}


class Refused(Exception):
    """The gateway has answered with an error."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.get("message", ""))
        self.frame = frame


class Lost(Exception):
    """The connection ended before the answer."""


class Cancelled(Exception):
    """The caller has cancelled the call."""


class Room:
    """A room with its position."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = ""
        self.offset = 0

    @property
    def since(self) -> Frame:
        return {"epoch": self.epoch, "offset": self.offset}


class Call:
    """A message without an answer so far."""

    def __init__(self, frame: Frame, on_chunk: Callable[[Any], None] | None) -> None:
        self.frame = frame
        self.on_chunk = on_chunk
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def is_repeated(self) -> bool:
        return bool(self.frame["type"] == "chat.send")


class PlainClient:
    """The client of one story."""

    def __init__(
        self,
        url: str,
        scale: float,
        get_token: Callable[[str], Awaitable[str]],
        notify: Callable[..., None],
        breaks: Collection[str] = (),
    ) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/ws/chat" if urlsplit(url).path in ("", "/") else url
        self._scale = scale
        self._get_token = get_token
        self._notify = notify
        self._breaks = breaks
        self._ids = itertools.count(1)
        self._names = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._calls: dict[Any, Call] = {}
        self._waiting: list[Call] = []
        self.rooms: dict[str, Room] = {}
        self._token: str | None = None
        self._ends_at = float("inf")
        self._fetching: asyncio.Task[None] | None = None
        self._refusals = 0
        self._failures = 0
        self._bye: Frame | None = None
        self._heard_at = time.monotonic()
        self._heartbeat = 25.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_open = asyncio.Event()
        self._running = self._start(self._run())

    def _start(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End for good."""
        socket = self._socket
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        if socket is not None:
            await socket.close()
        self._lose(everything=True)
        if "reopens" in self._breaks:
            self._start(self._run())
        self._state("closed", {"reason": "bye", "message": "The client has closed the connection."})

    async def call(
        self, type_: str, data: Any, *, on_chunk: Callable[[Any], None] | None = None, stream: bool = False
    ) -> Any:
        """Send a message and return its reply's data."""
        frame = {"type": type_, "data": data, "id": f"p{next(self._ids)}"} | ({"stream": True} if stream else {})
        if type_ == "chat.send" and "client_id" not in data and "client_id" not in self._breaks:
            frame["data"] = data | {"client_id": f"{random.getrandbits(64):x}"}
        call = Call(frame, on_chunk)
        if self.is_open.is_set():
            await self._send(call)
        else:
            self._waiting.append(call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            self._calls.pop(frame["id"], None)
            self._waiting = [each for each in self._waiting if each is not call]
            if "cancel" not in self._breaks:
                self._start(self._transmit({"type": "cancel", "data": {"id": frame["id"]}}))
            raise

    async def join(self, name: str) -> Frame:
        """Join a room, and keep its position."""
        reply: Frame = await self.call("room.join", {"room": name})
        room = self.rooms[name] = Room(name)
        room.epoch, room.offset = reply["epoch"], reply["offset"]
        return reply

    async def leave(self, name: str) -> None:
        """Leave a room."""
        self.rooms.pop(name, None)
        await self.call("room.leave", {"room": name})

    async def foreground(self) -> None:
        """Find out whether the connection still lives, or connect at once."""
        if "blind" in self._breaks and self._socket is not None:
            await self._replace()
        elif self.is_open.is_set():
            await self._check()

    async def _run(self) -> None:
        wait: float = 0
        reason = "connect"
        while True:
            await asyncio.sleep(wait)
            self._state("connecting", None)
            self._bye = None
            try:
                await self._ensure_token(reason)
                await self._converse()
                reconnect, why = self._outcome()
            except (OSError, TimeoutError, ValueError, InvalidHandshake) as error:
                reconnect, why = "with_backoff", self._refusal(error)
                self._token = None if isinstance(error, ValueError) else self._token
            except _NoToken as error:
                reconnect, why = "with_backoff", {"reason": "no_token", "message": str(error)}
            self._socket = None
            self.is_open.clear()
            self._lose()
            reason = "refused" if reconnect == "new_credential" else "connect"
            if reconnect == "new_credential":
                self._refusals += 1
            if reconnect == "never" or (self._refusals > 2 and "insists" not in self._breaks):
                self._state("closed", why)
                self._lose(everything=True)
                return
            wait = self._wait(reconnect)
            self._state("waiting", why)

    def _wait(self, reconnect: str) -> float:
        after = (self._bye or {}).get("after_ms")
        if "hammers" in self._breaks:
            return 0
        if reconnect == "new_credential":
            return 0
        if reconnect == "after_delay" and isinstance(after, int | float):
            return 0 if "after_ms" in self._breaks else after / 1000
        self._failures += 1
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._failures - 1))
        least = after / 1000 if isinstance(after, int | float) and "after_ms" not in self._breaks else 0
        return max(random.uniform(0, bound) * self._scale, least)

    def _outcome(self) -> tuple[str, Frame]:
        code = self._closed[0]
        reason = self._closed[1] or "the connection was lost"
        bye = self._bye
        reconnect = AFTER_CLOSE.get(code, "with_backoff")
        if bye is not None and bye.get("reconnect") in RECONNECTS and "ignores_bye" not in self._breaks:
            reconnect = bye["reconnect"]
        if "close_codes" in self._breaks:
            reconnect = "with_backoff"
        return reconnect, {"code": code, "reason": reason, "message": f"The server closed the connection: {reason}."}

    def _refusal(self, error: Exception) -> Frame:
        status = error.response.status_code if isinstance(error, InvalidStatus) else None
        hint = {401: "check the token", 403: "check the allowed origins", 426: "check that the proxy passes `Upgrade`"}
        words = hint.get(status or 0, "check the address, and whether the gateway runs")
        return {"reason": "refused", "message": f"The connection was refused ({status or error}): {words}."}

    async def _ensure_token(self, reason: str) -> None:
        ends_soon = self._ends_at - self._now() < ENDING_SECONDS
        if "keeps_token" in self._breaks and reason != "refused":
            ends_soon = False
        if self._token is None or ends_soon or reason == "refused":
            await self._fetch("connect" if self._token is None else "expiring" if reason != "refused" else reason)

    def _now(self) -> float:
        """Return the gateway's time."""
        return time.time() + (0 if "local_clock" in self._breaks else self._offset)

    _offset = 0.0
    _closed: tuple[int, str] = (1006, "")

    async def _fetch(self, reason: str) -> None:
        if self._fetching is None or "flights" in self._breaks:
            self._fetching = self._start(self._fetch_one(reason))
        fetching = self._fetching
        try:
            await asyncio.shield(fetching)
        finally:
            if fetching.done():
                self._fetching = None

    async def _fetch_one(self, reason: str) -> None:
        try:
            async with asyncio.timeout(TOKEN_SECONDS * self._scale):
                self._token = await self._get_token(reason)
        except TimeoutError:
            raise _NoToken("getToken: no token came in time") from None
        except Exception as error:
            raise _NoToken(f"getToken: {error}") from None
        self._ends_at = float("inf")

    async def _converse(self) -> None:
        """Open a socket, and read it to its end."""
        self._closed = (1006, "")
        async with asyncio.timeout(WELCOME_SECONDS * self._scale):
            socket = await connect(
                self._url,
                subprotocols=["gateway.v1", f"bearer.{self._token}"],  # type: ignore[list-item]
                compression=None,
                proxy=None,
                ping_interval=None,
                max_size=None,
                close_timeout=0.5,
            )
        self._socket = socket
        self._heard_at = time.monotonic()
        watching = self._start(self._watch(socket))
        try:
            async for message in socket:
                self._heard_at = time.monotonic()
                self._take(message)
        except ConnectionClosed:
            pass
        finally:
            watching.cancel()
            self._closed = (socket.close_code or 1006, socket.close_reason or "")

    async def _watch(self, socket: ClientConnection) -> None:
        """Replace a socket without a welcome, and check one that is silent."""
        await asyncio.sleep(WELCOME_SECONDS * self._scale)
        if not self.is_open.is_set():
            await self._replace()
        while "silence" not in self._breaks:
            silent = 2 * self._heartbeat * self._scale
            await asyncio.sleep(max(0.01, self._heard_at + silent - time.monotonic()))
            if time.monotonic() - self._heard_at >= silent:
                await self._check()

    async def _check(self) -> None:
        """Send `ping`, and replace the socket if nothing answers."""
        try:
            async with asyncio.timeout(PING_SECONDS * self._scale):
                await self._ask("ping", {})
        except TimeoutError:
            if "stays" not in self._breaks:
                await self._replace()
        except (Lost, Refused):
            pass

    async def _replace(self) -> None:
        """End the socket; the loop opens another one."""
        if self._socket is not None:
            self._socket.transport.abort()

    def _take(self, message: str | bytes) -> None:
        try:
            self._receive(_read(message))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if "fragile" in self._breaks:
                raise ConnectionClosed(None, None) from error
            self._notify("problem", text=str(error))

    def _receive(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind in ("reply", "error", "chunk"):
            self._answered(kind, frame)
            return
        data = frame.get("data")
        if "id" in frame or not isinstance(data, dict):
            raise ValueError("no event")
        if kind == "welcome":
            self._welcome(data)
        elif kind == "bye":
            self._bye = data
        elif kind == "token.expiring" and "expiring" not in self._breaks:
            self._start(self._renew())
        elif kind == "resync" and data.get("room") in self.rooms and "resync" not in self._breaks:
            self._start(self._rejoin(data["room"], "resync"))
        self._notify("event", type=kind, data=data)
        self._heard(kind, data)

    def _answered(self, kind: str, frame: Frame) -> None:
        call = self._calls.get(frame.get("id")) if isinstance(frame.get("id"), str | int) else None
        if call is None:
            self._notify("problem", text=f"{kind} of no call")
        elif kind == "chunk":
            if call.on_chunk is not None:
                call.on_chunk(frame.get("data"))
        else:
            del self._calls[frame["id"]]
            if call.answer.done():
                return
            if kind == "reply":
                self._before_reply(call, frame.get("data"))
                call.answer.set_result(frame.get("data", {}))
            else:
                call.answer.set_exception(Refused(frame))

    def _before_reply(self, call: Call, data: Any) -> None:
        """Keep the positions of an answer before the events that follow it."""
        if call.frame["type"] == "room.resume" and isinstance(data, dict):
            for entry in data["rooms"]:
                self._resumed(entry)
        if call.frame["type"] == "room.join" and isinstance(data, dict) and call.frame["data"]["room"] in self.rooms:
            self._place(self.rooms[call.frame["data"]["room"]], data)

    def _welcome(self, data: Frame) -> None:
        self._offset = _seconds(data["server_time"]) - time.time()
        self._ends_at = _seconds(data["token_expires_at"])
        self._heartbeat = data.get("heartbeat_seconds", 25.0)
        self._start(self._opened())

    async def _opened(self) -> None:
        """Resume the rooms, then repeat what must be repeated."""
        if self.is_open.is_set():
            return
        try:
            await self._resume()
            self._refusals = 0
            self._failures = 0
            self.is_open.set()
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                await self._send(call)
        except Lost:
            return
        self._state("open", None)

    async def _resume(self) -> None:
        missing = [{"room": room.name, "since": room.since} for room in self.rooms.values()]
        if "joins" in self._breaks:
            for each in missing:
                await self._ask("room.join", each)
            return
        while missing:
            reply = await self._ask("room.resume", {"rooms": missing[:MAX_ROOMS]})
            missing = missing[len(reply["rooms"]) :]
            if "pages" in self._breaks:
                return

    def _resumed(self, entry: Frame) -> None:
        room = self.rooms.get(entry["room"])
        if room is None:
            return
        if "error" in entry:
            if entry["error"]["status"] == 41000 and "lost" not in self._breaks:
                self._start(self._rejoin(room.name, "position_lost"))
            else:
                self._gap(room, entry["error"]["name"])
                self.rooms.pop(room.name)
            return
        if not entry.get("recovered"):
            self._gap(room, entry.get("reason", ""))
        for event in entry.get("events", []):
            self._heard(event["type"], event["data"])
        for message in entry.get("messages", []):
            self._heard("chat.message", message, again=True)
        self._place(room, entry)

    def _place(self, room: Room, entry: Frame) -> None:
        if room.epoch == entry["epoch"]:
            room.offset = max(room.offset, entry["offset"])
        else:
            room.epoch, room.offset = entry["epoch"], entry["offset"]

    async def _rejoin(self, name: str, reason: str) -> None:
        self._gap(self.rooms[name], reason)
        reply = await self._ask("room.join", {"room": name})
        room = self.rooms[name]
        room.epoch, room.offset = reply["epoch"], reply["offset"]

    def _gap(self, room: Room, reason: str) -> None:
        if "gaps" not in self._breaks:
            self._notify("gap", room=room.name, reason=reason)

    def _heard(self, kind: str, data: Frame, *, again: bool = False) -> None:
        """Report what changed in a room, unless its position has reached it."""
        room = self.rooms.get(data.get("room", "")) if isinstance(data.get("room"), str) else None
        if room is None or "changed" not in data:
            return
        if not again and data["epoch"] == room.epoch and data["changed"] <= room.offset and "twice" not in self._breaks:
            return
        if "position" not in self._breaks:
            room.epoch, room.offset = data["epoch"], max(room.offset, data["changed"])
        self._notify("message", room=room.name, data=data)

    async def _renew(self) -> None:
        try:
            await self._fetch("expiring")
            reply = await self._ask("auth.refresh", {"token": self._token})
            self._ends_at = _seconds(reply["token_expires_at"])
        except (_NoToken, Refused, Lost) as error:
            self._notify("problem", text=str(error))

    async def _ask(self, type_: str, data: Any) -> Any:
        """Call at once, also while the rooms are resumed."""
        call = Call({"type": type_, "data": data, "id": f"c{next(self._ids)}"}, None)
        await self._send(call)
        return await call.answer

    async def _send(self, call: Call) -> None:
        self._calls[call.frame["id"]] = call
        await self._transmit(call.frame)

    async def _transmit(self, frame: Frame) -> None:
        with suppress(ConnectionClosed):
            if self._socket is not None:
                await self._socket.send(json.dumps(frame))

    def _lose(self, *, everything: bool = False) -> None:
        """Keep what is sent again, and end the rest."""
        if self._breaks & {"repeats_all"}:  # type: ignore[operator]
            self._waiting = [*self._calls.values(), *self._waiting]
            self._calls = {}
            return
        kept = (
            []
            if everything or "never_repeats" in self._breaks
            else [call for call in self._calls.values() if call.is_repeated]
        )
        ended = [call for call in self._calls.values() if call not in kept]
        self._calls = {}
        self._waiting = [*kept, *self._waiting]
        if everything:
            ended, self._waiting = [*ended, *self._waiting], []
        for call in ended:
            if not call.answer.done():
                call.answer.set_exception(Lost("the connection ended before the answer"))

    def _state(self, state: str, why: Frame | None) -> None:
        self._notify("state", state=state, why=None if "silent" in self._breaks else why)


class _NoToken(Exception):
    """No token came."""


def _read(message: str | bytes) -> Frame:
    frame = json.loads(message)
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise TypeError("no frame")
    return frame


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
