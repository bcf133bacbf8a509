"""How the load talks to each server with tokens and rooms.

The gateway, the tutorial's peer and Node's `ws` take the same messages. A client names its position in a room, and
gets what came after it.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from benchmarks.client import Client
from benchmarks.dialects import ROOM_NAME, Dialect, Plain, SocketIO, room_of

HISTORY = 50
"""Messages that a client gets at a join without a position."""

Answer = dict[str, Any]


class Position(NamedTuple):
    """The end of what a client knows of a room."""

    epoch: str
    offset: int

    def behind(self, count: int) -> "Position":
        """Return the position so many messages earlier."""
        return Position(self.epoch, max(0, self.offset - count))


Positions = Mapping[str, Position | None]
"""Rooms with the client's positions in them, if it has been there."""


class View(NamedTuple):
    """What a join brings."""

    position: Position
    messages: int


class RefusedError(Exception):
    """The server cannot serve this for now."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the server refuses this for now")
        self.seconds = seconds


class RoomDialect(Dialect, Protocol):
    """How the load talks to one server with rooms. Each request has an id, which its answer repeats."""

    port: int

    def join(self, number: int, room: str, since: Position | None) -> bytes:
        """Return a request to join a room."""

    def join_with_history(self, number: int, room: str, head: Position) -> bytes:
        """Return a request to join a room and get its newest messages; `head` is the room's end."""

    def join_all(self, rooms: Mapping[int, tuple[str, Position | None]]) -> Sequence[bytes]:
        """Return frames with requests to join rooms, by their ids, as the server's own client sends them."""

    def send(self, number: int, room: str, text: str) -> bytes:
        """Return a request to send a message."""

    def answers(self, text: bytes) -> Iterable[tuple[int, Answer]]:
        """Return the answers in a text, with the ids of their requests."""

    def view(self, answer: Answer) -> View:
        """Return what a join brings, or raise `RefusedError`."""


class Authenticated(Plain):
    """The gateway's own protocol: a token, a welcome, and a join of the room."""

    def __init__(self, port: int, tokens: Sequence[str]) -> None:
        super().__init__(port)
        self.tokens = tokens

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect with a token, up to the welcome, and join the room."""
        await asyncio.gather(client.wait_for(b'{"type":"welcome"'), client.connect(self.url(number)))
        if room := room_of(place):
            client.send(self.join(1, room, None))
            await client.wait_for(b'{"type":"reply","id":1,"status":20000')

    def url(self, number: int) -> str:
        """Return the URL of the chat socket with the token of one of the users."""
        return f"{self._address}/ws/chat?token={self.tokens[number % len(self.tokens)]}"

    def request(self, number: int, type: str, **data: Any) -> bytes:
        """Return any request."""
        return orjson.dumps({"type": type, "id": number, "data": data})

    def join(self, number: int, room: str, since: Position | None) -> bytes:
        """Return a request to join a room."""
        return self.request(number, "room.join", **_entry(room, since))

    def join_with_history(self, number: int, room: str, head: Position) -> bytes:
        """Return a request without a position."""
        return self.join(number, room, None)

    def join_all(self, rooms: Mapping[int, tuple[str, Position | None]]) -> Sequence[bytes]:
        """Return a frame for each room."""
        return [self.join(number, room, since) for number, (room, since) in rooms.items()]

    def resume(self, number: int, rooms: Positions) -> bytes:
        """Return one request for all rooms, which only the gateway knows."""
        asked = [_entry(room, since) for room, since in rooms.items()]
        return self.request(number, "room.resume", rooms=asked)

    def send(self, number: int, room: str, text: str) -> bytes:
        """Return a request to send a message."""
        return self.request(number, "chat.send", room=room, text=text)

    def answers(self, text: bytes) -> Iterable[tuple[int, Answer]]:
        """Return the reply or the error, or nothing of an event."""
        if not text.startswith((b'{"type":"reply"', b'{"type":"error"')):
            return []
        answer = orjson.loads(text)
        return [(answer["id"], answer)]

    def view(self, answer: Answer) -> View:
        """Return what a join brings, or raise `RefusedError`."""
        if answer["type"] == "error":
            if not answer["retryable"]:
                raise RuntimeError(f"expected a reply, got {answer}")
            raise RefusedError(answer.get("retry_after_ms", 0) / 1000)
        return _view(answer["data"])


class SocketIORooms(SocketIO):
    """Socket.IO with a token, and with rooms by their names. An answer is an acknowledgement."""

    def __init__(self, port: int, tokens: Sequence[str]) -> None:
        super().__init__(port)
        self._tokens = tokens

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect with a token, up to the session's id, and join the room."""
        url = f"{self._address}/socket.io/?EIO=4&transport=websocket"
        await asyncio.gather(client.wait_for(b"0"), client.connect(url))
        client.send(b'40{"token":"%b"}' % self._tokens[number % len(self._tokens)].encode())
        await client.wait_for(b"40")
        if room := room_of(place):
            client.send(self.join(1, room, None))
            await client.wait_for(b"431")

    def say(self, message: bytes, room: str = ROOM_NAME) -> bytes:
        """Return an event that asks for an acknowledgement."""
        return b'422["chat.send",%b]' % message

    def join(self, number: int, room: str, since: Position | None) -> bytes:
        """Return an event that asks for the view of a room."""
        return b"42%d%b" % (number, orjson.dumps(["room.join", _entry(room, since)]))

    def join_with_history(self, number: int, room: str, head: Position) -> bytes:
        """Return an event without a position."""
        return self.join(number, room, None)

    def join_all(self, rooms: Mapping[int, tuple[str, Position | None]]) -> Sequence[bytes]:
        """Return a frame for each room."""
        return [self.join(number, room, since) for number, (room, since) in rooms.items()]

    def send(self, number: int, room: str, text: str) -> bytes:
        """Return an event with a message."""
        return b"42%d%b" % (number, orjson.dumps(["chat.send", {"data": {"room": room, "text": text}}]))

    def answers(self, text: bytes) -> Iterable[tuple[int, Answer]]:
        """Return the acknowledgement, or nothing of an event."""
        found = re.match(rb"43(\d+)", text)
        return [(int(found[1]), orjson.loads(text[found.end() :])[0])] if found else []

    def view(self, answer: Answer) -> View:
        """Return what a join brings."""
        return _view(answer)


class Centrifugo(Plain):
    """Centrifugo's protocol in JSON: a token, and subscriptions to channels. A text has a message in each line."""

    def __init__(self, port: int, tokens: Sequence[str]) -> None:
        super().__init__(port)
        self._tokens = tokens

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect with a token, and subscribe."""
        await client.connect(f"{self._address}/connection/websocket")
        client.send(b'{"id":1,"connect":{"token":"%b"}}' % self._tokens[number % len(self._tokens)].encode())
        await client.wait_for(b'{"id":1,"connect":')
        if room := room_of(place):
            client.send(self.join(2, room, None))
            await client.wait_for(b'{"id":2,"subscribe":')

    def say(self, message: bytes, room: str = ROOM_NAME) -> bytes:
        """Return a publication of the message."""
        return b'{"id":3,"publish":{"channel":"%b","data":%b}}' % (room.encode(), message)

    def join(self, number: int, room: str, since: Position | None) -> bytes:
        """Return a subscription, which recovers what came after a position."""
        position = {"recover": True} | since._asdict() if since else {}
        return orjson.dumps({"id": number, "subscribe": {"channel": room} | position})

    def join_with_history(self, number: int, room: str, head: Position) -> bytes:
        """Return a subscription that recovers the newest messages, which costs less than to ask for them besides."""
        return self.join(number, room, head.behind(HISTORY))

    def join_all(self, rooms: Mapping[int, tuple[str, Position | None]]) -> Sequence[bytes]:
        """Return one frame."""
        return [b"\n".join(self.join(number, room, since) for number, (room, since) in rooms.items())]

    def send(self, number: int, room: str, text: str) -> bytes:
        """Return a publication."""
        return orjson.dumps({"id": number, "publish": {"channel": room, "data": {"text": text}}})

    def answers(self, text: bytes) -> Iterable[tuple[int, Answer]]:
        """Return the replies, without pushes and pings."""
        return [(answer["id"], answer) for answer in map(orjson.loads, text.split(b"\n")) if "id" in answer]

    def view(self, answer: Answer) -> View:
        """Return what a subscription brings."""
        if "error" in answer:
            raise RuntimeError(f"expected a reply, got {answer}")
        found = answer["subscribe"]
        return View(Position(found["epoch"], found.get("offset", 0)), len(found.get("publications", ())))


def _entry(room: str, since: Position | None) -> Answer:
    return {"room": room} | ({"since": since._asdict()} if since else {})


def _view(data: Answer) -> View:
    messages = data["events"] if "events" in data else data["messages"]
    return View(Position(data["epoch"], data["offset"]), len(messages))
