"""The tutorial's connections in rooms, with its dependency on a token, and with messages in memory.

The manager of connections is that of https://fastapi.tiangolo.com/advanced/websockets/.
It takes the gateway's messages.
"""

import json
import secrets
import time
from collections import deque
from typing import Annotated, Any

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from benchmarks.peers.tutorial_tokens import user_of, user_of_request

KEPT = 100
"""Messages of a room."""

SENT = 50
"""Messages at a join without a position."""

Message = dict[str, Any]


class User(BaseModel):
    """A user."""

    id: str


class Room:
    """The members of a room, and its newest messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: list[WebSocket] = []
        self._epoch = secrets.token_urlsafe(6)
        self._offset = 0
        self._history: deque[Message] = deque(maxlen=KEPT)

    def add(self, sender: str, text: str) -> Message:
        """Store a message."""
        self._offset += 1
        message = {
            "room": self.name,
            "offset": self._offset,
            "sender": sender,
            "text": text,
            "sent_at": int(1000 * time.time()),
        }
        self._history.append(message)
        return message

    def view(self, since: dict[str, Any] | None) -> Message:
        """Return what a member gets at a join: the messages after its position, or the newest ones."""
        known = since is not None and since["epoch"] == self._epoch
        behind = self._offset - since["offset"] if known and since else SENT
        messages = list(self._history)[-behind:] if behind > 0 else []
        return {"room": self.name, "epoch": self._epoch, "offset": self._offset, "messages": messages}

    async def broadcast(self, message: Message) -> None:
        """Send a message to all members."""
        text = json.dumps({"type": "chat.message", "data": message})
        for member in tuple(self.members):
            await member.send_text(text)


app = FastAPI()
rooms: dict[str, Room] = {}


@app.get("/users/me")
async def read_me(user: Annotated[str, Depends(user_of_request)]) -> User:
    """Return the user of the token."""
    return User(id=user)


@app.websocket("/ws/chat")
async def chat(websocket: WebSocket, user: Annotated[str, Depends(user_of)]) -> None:
    """Serve a connection."""
    await websocket.accept()
    await websocket.send_json({"type": "welcome", "data": {"user": user}})
    joined: list[Room] = []
    try:
        async for message in websocket.iter_json():
            name = message["data"]["room"]
            room = rooms.setdefault(name, Room(name))
            if message["type"] == "room.join":
                if room not in joined:
                    joined.append(room)
                    room.members.append(websocket)
                answer = room.view(message["data"].get("since"))
            else:
                added = room.add(user, message["data"]["text"])
                await room.broadcast(added)
                answer = {"offset": added["offset"]}
            await websocket.send_json({"type": "reply", "id": message["id"], "status": 20000, "data": answer})
    except WebSocketDisconnect:
        pass
    finally:
        for room in joined:
            room.members.remove(websocket)
