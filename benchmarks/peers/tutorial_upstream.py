"""The WebSocket of FastAPI's tutorial, which asks a service about each message with httpx2.

Any text is passed on: it checks no token, no rate, no schema and no answer, and signs nothing.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI, WebSocket

URL = os.environ.get("PEER_UPSTREAM", "")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client, and with it the connections to the service."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/upstream")
async def upstream(websocket: WebSocket) -> None:
    """Answer each message with what the service says."""
    await websocket.accept()
    client: httpx2.AsyncClient = app.state.client
    async for message in websocket.iter_json():
        answer = await client.post(URL, json={"user": "alice", **message})
        await websocket.send_json({"type": "reply", "id": message["id"], "data": answer.json()["data"]})
