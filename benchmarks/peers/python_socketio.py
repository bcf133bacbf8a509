"""python-socketio: acknowledgements for the echo, and its own rooms."""

import socketio

ROOM = "everyone"

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


async def echo(sid: str, data: object) -> object:
    """Say everything back, as the acknowledgement."""
    return data


async def join(sid: str) -> None:
    """Let one into the room."""
    await server.enter_room(sid, ROOM)


async def say(sid: str, data: object) -> None:
    """Say everything to all."""
    await server.emit("said", data, room=ROOM)


for handler in (echo, join, say):
    server.on(handler.__name__, handler)

app = socketio.ASGIApp(server)
