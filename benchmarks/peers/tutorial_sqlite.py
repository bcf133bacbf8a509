"""The tutorial's connection with a token, which commits each message with the standard library's sqlite3."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket

from benchmarks.peers.tutorial_tokens import user_of

TABLE = """CREATE TABLE IF NOT EXISTS messages (
    room TEXT NOT NULL, offset INTEGER NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL, sent_at INTEGER NOT NULL,
    PRIMARY KEY (room, offset)
) WITHOUT ROWID"""

ADD = """INSERT INTO messages
    SELECT :room, coalesce(max(offset), 0) + 1, :sender, :text, :sent_at FROM messages WHERE room = :room
    RETURNING offset"""


class Store:
    """A file in which each message is on disk before it is acknowledged."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(TABLE)

    def add(self, room: str, sender: str, text: str) -> int:
        """Commit a message, and return its offset in its room."""
        values = {"room": room, "sender": sender, "text": text, "sent_at": int(1000 * time.time())}
        [(offset,)] = self._connection.execute(ADD, values).fetchall()
        return int(offset)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the file open."""
    app.state.store = Store(os.environ["PEER_DATABASE"])
    yield
    app.state.store.close()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/chat")
async def chat(websocket: WebSocket, user: Annotated[str, Depends(user_of)]) -> None:
    """Store each message."""
    store: Store = websocket.app.state.store
    await websocket.accept()
    await websocket.send_json({"type": "welcome", "data": {"user": user}})
    async for message in websocket.iter_json():
        offset = store.add(message["data"]["room"], user, message["data"]["text"])
        await websocket.send_json(
            {"type": "reply", "id": message["id"], "status": 20000, "data": {"offset": offset}},
        )
