"""The driver of the plain client, which breaks the rules that `connect` names. See docs/conformance.md."""

import asyncio
import json
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

from tests.gateway.conformance.plain_client import Lost, PlainClient, Refused

CAPABILITIES = ["tokens", "rooms", "sends", "streams", "cancel", "events", "foreground", "silence", "why"]


class Driver:
    """Reads commands and writes answers."""

    def __init__(self) -> None:
        self._client: PlainClient | None = None
        self._requests = count(1)
        self._tokens: dict[int, asyncio.Future[str]] = {}
        self._commands: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Do what comes, each command in a task."""
        reader = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            command = json.loads(line)
            if command["type"] == "token":
                self._give(command["data"])
            elif command["type"] == "cancel":
                self._commands[command["data"]["id"]].cancel()
                _write("reply", id=command["id"], data={})
            else:
                self._commands[command["id"]] = asyncio.create_task(self._do(command))

    async def _do(self, command: dict[str, Any]) -> None:
        try:
            data = await getattr(self, command["type"])(command["id"], **command["data"])
            _write("reply", id=command["id"], data=data if data is not None else {})
        except Refused as refused:
            _write("error", id=command["id"], data={"kind": "refused", **refused.frame})
        except Lost:
            _write("error", id=command["id"], data={"kind": "lost"})
        except asyncio.CancelledError:
            _write("error", id=command["id"], data={"kind": "cancelled"})
        except Exception as error:
            _write("error", id=command["id"], data={"kind": "fault", "message": repr(error)})

    async def hello(self, _: int, version: int) -> Any:
        return {"client": f"plain {version}", "capabilities": CAPABILITIES}

    async def connect(self, _: int, url: str, scale: float, breaks: Sequence[str] = ()) -> None:
        self._client = PlainClient(url, scale, self._get_token, self._notify, frozenset(breaks))

    async def call(self, _: int, type: str, data: Any) -> Any:
        return await self._there.call(type, data)

    async def stream(self, number: int, type: str, data: Any) -> Any:
        return await self._there.call(
            type, data, on_chunk=lambda chunk: _write("chunk", data={"id": number, "data": chunk}), stream=True
        )

    async def join(self, _: int, room: str) -> Any:
        return await self._there.join(room)

    async def leave(self, _: int, room: str) -> None:
        await self._there.leave(room)

    async def send(self, _: int, room: str, text: str) -> Any:
        return await self._there.call("chat.send", {"room": room, "text": text})

    async def events(self, _: int, type: str) -> None:
        """Report events; this client reports all."""

    async def foreground(self, _: int) -> None:
        await self._there.foreground()

    async def close(self, _: int) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    @property
    def _there(self) -> PlainClient:
        assert self._client is not None
        return self._client

    async def _get_token(self, reason: str) -> str:
        request = next(self._requests)
        self._tokens[request] = asyncio.get_running_loop().create_future()
        _write("token", data={"request": request, "reason": reason})
        return await self._tokens[request]

    def _give(self, data: dict[str, Any]) -> None:
        future = self._tokens.pop(data["request"])
        if future.done():
            return
        if "token" in data:
            future.set_result(data["token"])
        else:
            future.set_exception(RuntimeError(data["error"]))

    def _notify(self, kind: str, **data: Any) -> None:
        _write(kind, data=data)


def _write(type_: str, **line: Any) -> None:
    sys.stdout.write(json.dumps({"type": type_, **line}) + "\n")
    sys.stdout.flush()


asyncio.run(Driver().run())
