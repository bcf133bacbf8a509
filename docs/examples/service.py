"""A service in Python: `pip install fastapi uvicorn standardwebhooks`, then `uvicorn service:app --port 9000`."""

import itertools
import json
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()
webhook = Webhook(os.environ["ORDERS_SECRET"])
numbers = itertools.count(1)


async def verified(request: Request) -> Any:
    try:
        return webhook.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(401, "the gateway has not signed this") from None


Message = Annotated[Any, Depends(verified)]


@app.post("/orders")
async def order(message: Message) -> Any:
    if message["type"] == "orders.watch":
        return StreamingResponse(watch(), media_type="text/event-stream")
    sku = message["data"].get("sku")
    if message["type"] != "orders.create" or not sku:
        return {"error": {"status": 60001, "name": "no_order", "message": "expected `orders.create` with a `sku`"}}
    number = next(numbers)
    news = {"room": "kitchen", "text": f"Order {number}: {sku}, for {message['user']}"}
    return {"data": {"order": number}, "effects": [{"publish": news}]}


async def watch() -> AsyncIterator[str]:
    for step in ("picked", "packed", "sent"):  # a stream: its chunks, and then the reply
        yield f"data: {json.dumps(step)}\n\n"
    yield 'event: reply\ndata: {"data": {"done": true}}\n\n'


@app.post("/events")
async def event(event: Message) -> dict:
    message = event["data"].get("message", {})
    print(event["type"], message.get("text", event["data"]), flush=True)
    return {}
