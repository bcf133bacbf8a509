"""A worker in Python: `pip install websockets`, then `GATEWAY_KEY=gwk_… python worker.py`."""

import asyncio
import json
import os
import random
import sys
from contextlib import suppress

from websockets import ClientConnection, ConnectionClosed, connect

URL = os.environ.get("GATEWAY_URL", "ws://127.0.0.1:8000/ws/service")


async def create(message: dict) -> dict:
    if "sku" not in message["data"]:
        return {"error": {"status": 60001, "name": "no_sku", "message": "an order needs a sku"}}
    return {"data": {"sku": message["data"]["sku"], "ordered_by": message["user"]}}


async def answer(ws: ClientConnection, call: str, message: dict) -> None:
    try:
        reply = await {"orders.create": create}[message["type"]](message)
    except Exception as fault:  # the gateway answers its client with 50200
        print(f"{message['type']} failed: {fault!r}", file=sys.stderr)
        reply = {"error": {"status": 50000, "name": "internal_error", "message": "the worker failed"}}
    with suppress(ConnectionClosed):
        await ws.send(json.dumps({"type": "reply", "id": call, **reply}))


async def serve(ws: ClientConnection) -> dict:
    tasks = set()
    async for text in ws:
        frame = json.loads(text)
        if frame["type"] == "welcome":
            await ws.send(json.dumps({"type": "route.serve", "id": 1, "data": {"types": ["orders.*"], "parallel": 16}}))
        elif frame["type"] == "route.message":  # a task, so that a slow one holds up no other
            tasks.add(task := asyncio.create_task(answer(ws, frame["id"], frame["data"])))
            task.add_done_callback(tasks.discard)
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
