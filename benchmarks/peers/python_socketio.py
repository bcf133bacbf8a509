"""python-socketio: acknowledgements for the echo, and its own rooms."""

import socketio

ROOM = "everyone"

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


async def echo(sid: str, data: object) -> object:
    """Send everything back, as the acknowledgement."""
    return data


async def join(sid: str) -> None:
    """Add a client to the room."""
    await server.enter_room(sid, ROOM)


async def say(sid: str, data: object) -> None:
    """Send everything to all."""
    await server.emit("said", data, room=ROOM)


for handler in (echo, join, say):
    server.on(handler.__name__, handler)

app = socketio.ASGIApp(server)
