"""Workers for tests: services that serve routes over `/ws/service`, as slowly and wrongly as a test likes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from gateway.routes.model import Route, Routes
from gateway.testing import Gateway
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.streams import LastPart
from tests.support.client import CLOSE_SECONDS, ChatClient, Frame
from tests.support.services import add_service

ORDERS = Route("orders.*", timeout_seconds=5)
BILLING = Route("billing.pay", service="billing")
ELSEWHERE = Route("web.*", url="http://127.0.0.1:9/")

LONG = 20.0
"""Far longer than any answer takes here."""


class Worker(ChatClient):
    """A connection of a service."""

    async def serve(self, *types: str, parallel: int = 16) -> Frame:
        """Serve these routes."""
        return await self.ask("route.serve", types=list(types), parallel=parallel)

    async def message(self) -> tuple[str, Any]:
        """Take the next message of a route: its id, and what came."""
        frame = await self.next()
        assert frame["type"] == "route.message", frame
        return frame["id"], frame["data"]

    async def reply(self, call: str, **parts: Any) -> None:
        """Answer a message with `data`, `error` or anything else."""
        await self.send({"type": "reply", "id": call, **parts})

    async def chunk(self, call: str, data: Any) -> None:
        """Send a chunk of the answer to a message."""
        await self.send({"type": "chunk", "id": call, "data": data})

    async def answer_one(self, **data: Any) -> Any:
        """Answer the next message, and return what came."""
        call, body = await self.message()
        await self.reply(call, data=data)
        return body


@asynccontextmanager
async def socket(gateway: Gateway, key: str | None = None, query: str = "", **options: Any) -> AsyncIterator[Worker]:
    """Open the socket of services, with a key in the header or without one."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    headers |= options.pop("headers", {})
    options = {"compression": None, "proxy": None, "max_size": None, "close_timeout": CLOSE_SECONDS} | options
    async with connect(f"{gateway.ws_url}/ws/service{query}", additional_headers=headers, **options) as ws:
        yield Worker(ws)


@asynccontextmanager
async def worker(
    gateway: Gateway, *types: str, service: str = "orders", key: str | None = None, parallel: int = 16, **options: Any
) -> AsyncIterator[Worker]:
    """Connect a worker that serves these routes. Without a key, its service is new."""
    if key is None:
        key = await add_service(gateway, service, "api:serve")
    async with socket(gateway, key, **options) as connected:
        connected.welcome = await connected.expect("welcome", service=service)
        if types:
            await connected.serve(*types, parallel=parallel)
        yield connected


def use_routes(gateway: Gateway, *routes: Route) -> None:
    """Let a gateway have these routes."""
    gateway.state.routes.current = Routes(routes)


async def call(gateway: Gateway, route: Route = ORDERS, seconds: float = LONG, **data: Any) -> Any:
    """Send a message to the workers of a route, without a client, and return the answer."""
    *_, answer = await parts_of(gateway, route, seconds, **data)
    return answer


async def parts_of(gateway: Gateway, route: Route = ORDERS, seconds: float = LONG, **data: Any) -> list[Any]:
    """Send a message to the workers of a route, without a client, and return the chunks and the answer."""

    async def ask() -> list[Any]:
        stream = gateway.state.workers.transport(route).stream
        parts = [
            part async for part in stream(json.dumps(data).encode(), "msg_1", {}, Deadlines(now() + seconds, seconds))
        ]
        return [json.loads(part.body) if isinstance(part, LastPart) else part for part in parts]

    return await gateway.run(ask())
