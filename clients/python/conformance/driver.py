"""The driver of json-gateway-client for `gateway conformance`. docs/conformance.md has its protocol."""

import asyncio
import json
import sys
from collections.abc import AsyncIterable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

from gateway_client import (
    AnyEvent,
    Event,
    Gap,
    Gateway,
    GatewayError,
    Lost,
    Refused,
    StateChanged,
    Times,
    TokenRequest,
    connect,
)
from gateway_client.model import LocalEvent, to_wire

CAPABILITIES = ["tokens", "rooms", "sends", "streams", "cancel", "events", "foreground", "silence", "why"]
MAX_LINE_BYTES = 16 * 1024 * 1024

Data = dict[str, Any]


class Driver:
    """Obeys commands, each in a task of its own, with one client at a time."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: dict[int, asyncio.Task[None]] = {}
        self._requests = count(1)
        self._tokens: dict[int, asyncio.Future[str]] = {}

    async def run(self) -> None:
        """Read commands to the end of the input."""
        lines = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async for line in lines:
            command = json.loads(line)
            if command["type"] == "token":
                self._take_token(**command["data"])
            else:
                self._commands[command["id"]] = asyncio.create_task(self._obey(**command))

    async def _obey(self, type: str, id: int, data: Data) -> None:
        try:
            done = await getattr(self, f"on_{type}")(id, **data)
        except Refused as refused:
            words = {"status": refused.status, "name": refused.name, "message": refused.message}
            write("error", {"kind": "refused", **words}, id=id)
        except Lost as lost:
            write("error", {"kind": "lost", "message": lost.message}, id=id)
        except asyncio.CancelledError:
            write("error", {"kind": "cancelled"}, id=id)
        except Exception as error:  # the report names it
            write("error", {"kind": "fault", "message": repr(error)}, id=id)
        else:
            write("reply", {} if done is None else done, id=id)
        finally:
            del self._commands[id]

    async def on_hello(self, _: int, version: int) -> Data:
        """Say what this is."""
        return {"client": f"json-gateway-client (Python, driver {version})", "capabilities": CAPABILITIES}

    async def on_connect(self, _: int, url: str, scale: float) -> None:
        """Make a client, and let it connect."""
        gateway = self._gateway = connect(
            url, get_token=self._get_token, open_timeout=None, proxy=False, times=Times().scaled(scale)
        )
        self._report(gateway.events(StateChanged), lambda event: write("state", _state(event)))
        self._start(self._open(gateway))

    async def on_call(self, _: int, type: str, data: Any) -> Any:
        """Send a message."""
        return await self._client.call(type, data)

    async def on_stream(self, id: int, type: str, data: Any) -> Any:
        """Send a message, and report its chunks."""
        async with self._client.stream(type, data) as stream:
            async for chunk in stream:
                write("chunk", {"id": id, "data": chunk})
            return stream.reply

    async def on_cancel(self, _: int, id: int) -> None:
        """Cancel a call or a stream."""
        if (command := self._commands.get(id)) is not None:
            command.cancel()

    async def on_join(self, _: int, room: str) -> Data:
        """Join a room, and report its messages and gaps."""
        joined = self._client.room(room)
        messages, gaps = joined.messages(), joined.events(Gap)
        self._report(messages, lambda message: write("message", {"room": room, "data": to_wire(message)}))
        self._report(gaps, lambda gap: write("gap", {"room": room, "reason": str(gap.reason)}))
        return to_wire(await joined.join())

    async def on_leave(self, _: int, room: str) -> None:
        """Leave a room."""
        await self._client.room(room).leave()

    async def on_send(self, _: int, room: str, text: str) -> Any:
        """Send a message to a room."""
        return await self._client.call("chat.send", {"room": room, "text": text})

    async def on_events(self, _: int, type: str) -> None:
        """Report events."""
        gateway = self._client
        events: AsyncIterable[Any] = gateway.events() if type == "*" else gateway.events(type)
        self._report(events, _write_event)

    async def on_foreground(self, _: int) -> None:
        """Do what a program does when the machine has woken."""
        await self._client.check()

    async def on_close(self, _: int) -> None:
        """Close the client."""
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.close()

    @property
    def _client(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("expected `connect` first")
        return self._gateway

    async def _open(self, gateway: Gateway) -> None:
        with suppress(GatewayError):  # the state says why
            await gateway.__aenter__()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report(self, events: AsyncIterable[Any], report: Callable[[Any], None]) -> None:
        """Report events until the loop ends."""

        async def read() -> None:
            with suppress(GatewayError):
                async for event in events:
                    report(event)

        self._start(read())

    async def _get_token(self, request: TokenRequest) -> str:
        number = next(self._requests)
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tokens[number] = waiting
        write("token", {"request": number, "reason": str(request.reason)})
        return await waiting

    def _take_token(self, request: int, token: str = "", error: str = "") -> None:
        waiting = self._tokens.pop(request)
        if waiting.done():
            return
        if error:
            waiting.set_exception(RuntimeError(error))
        else:
            waiting.set_result(token)


def _state(event: StateChanged) -> Data:
    why = event.why
    if why is None:
        return {"state": event.state, "why": None}
    return {"state": event.state, "why": {"code": why.code, "reason": why.reason, "message": why.message}}


def _write_event(event: Event | AnyEvent) -> None:
    if not isinstance(event, LocalEvent):
        data = event.data if isinstance(event, AnyEvent) else event.model_dump(mode="json", exclude_unset=True)
        write("event", {"type": event.type, "data": data})


def write(type: str, data: Any, id: int | None = None) -> None:
    """Write a line to the story."""
    sys.stdout.write(json.dumps({"type": type, "id": id, "data": data}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(Driver().run())
