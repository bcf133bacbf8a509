"""A worker in Python: `pip install websockets`, then `GATEWAY_KEY=gwk_… python worker.py`."""

import asyncio
import json
import os
import random
import sys
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

URL = os.environ.get("GATEWAY_URL", "ws://127.0.0.1:8000/ws/service")
KEY = os.environ["GATEWAY_KEY"]


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
    serving = {"types": ["orders.*"], "parallel": 16}
    await ws.send(json.dumps({"type": "route.serve", "id": 1, "data": serving}))
    async for text in ws:
        frame = json.loads(text)
        if frame["type"] == "route.message":  # a task, so that a slow one holds up no other
            tasks.add(task := asyncio.create_task(answer(ws, frame["id"], frame["data"])))
            task.add_done_callback(tasks.discard)
        elif frame["type"] == "bye":
            return frame["data"]
        elif frame["type"] != "route.cancel":
            print(text, flush=True)
    return {}


async def main() -> None:
    delay = 0.5
    while True:
        bye = {}
        try:
            async with connect(URL, additional_headers={"Authorization": f"Bearer {KEY}"}) as ws:
                delay = 0.5
                bye = await serve(ws)
        except (OSError, WebSocketException) as error:
            print(f"not connected: {error}", file=sys.stderr)
        if bye.get("reconnect") in ("never", "new_credential"):
            sys.exit(f"the gateway does not want this worker: {bye['reason']}")
        await asyncio.sleep(max(bye.get("after_ms", 0) / 1000, delay * random.random()))
        delay = min(2 * delay, 30)


if __name__ == "__main__":
    asyncio.run(main())
