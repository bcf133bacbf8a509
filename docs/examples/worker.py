"""A worker in Python: `pip install websockets`, then `GATEWAY_KEY=gwk_… python worker.py`."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from websockets import ClientConnection, ConnectionClosed, connect

URL = os.environ.get("GATEWAY_URL", "ws://127.0.0.1:8000/ws/service")
Chunk = Callable[[object], Awaitable[None]]


async def create(message: dict, chunk: Chunk) -> dict:
    if "sku" not in message["data"]:
        return {"error": {"status": 60001, "name": "no_sku", "message": "an order needs a sku"}}
    return {"data": {"sku": message["data"]["sku"], "ordered_by": message["user"]}}


async def watch(message: dict, chunk: Chunk) -> dict:  # a stream: its chunks, and then the reply
    for step in ("picked", "packed", "sent"):
        await chunk(step)
    return {"data": {"sku": message["data"].get("sku")}}


async def answer(ws: ClientConnection, call: str, message: dict) -> None:
    async def chunk(data: object) -> None:
        await ws.send(json.dumps({"type": "chunk", "id": call, "data": data}))

    try:
        reply = await {"orders.create": create, "orders.watch": watch}[message["type"]](message, chunk)
    except Exception as fault:  # the gateway answers its client with 50200
        print(f"{message['type']} failed: {fault!r}", file=sys.stderr)
        reply = {"error": {"status": 50000, "name": "internal_error", "message": "the worker failed"}}
    with suppress(ConnectionClosed):
        await ws.send(json.dumps({"type": "reply", "id": call, **reply}))


async def serve(ws: ClientConnection) -> dict:
    tasks = {}
    async for text in ws:
        frame = json.loads(text)
        if frame["type"] == "welcome":
            await ws.send(json.dumps({"type": "route.serve", "id": 1, "data": {"types": ["orders.*"], "parallel": 16}}))
        elif frame["type"] == "route.message":  # a task, so that a slow one holds up no other
            tasks[frame["id"]] = task = asyncio.create_task(answer(ws, frame["id"], frame["data"]))
            task.add_done_callback(lambda _, call=frame["id"]: tasks.pop(call))
        elif frame["type"] == "route.cancel" and frame["id"] in tasks:
            tasks[frame["id"]].cancel()
        elif frame["type"] == "bye":
            return frame["data"]
        elif frame["type"] in ("error", "reply"):
            print(text, flush=True)
    return {}


async def main() -> None:
    async for ws in connect(URL, additional_headers={"Authorization": f"Bearer {os.environ['GATEWAY_KEY']}"}):
        bye = {}
        with suppress(ConnectionClosed):
            bye = await serve(ws)
        if bye.get("reconnect") in ("never", "new_credential"):
            sys.exit(f"the gateway does not want this worker: {bye['reason']}")
        await asyncio.sleep(bye.get("after_ms", 5000 * random.random()) / 1000)  # connect waits ever longer by itself


asyncio.run(main())
