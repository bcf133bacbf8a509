"""The two examples of https://fastapi.tiangolo.com/advanced/websockets/."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class ConnectionManager:
    """The tutorial's own."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        """Add a client."""
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        """Remove a client."""
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        """Send a message to all."""
        for connection in self.active_connections:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Send everything back."""
    await websocket.accept()
    async for data in websocket.iter_json():
        await websocket.send_json(data)


@app.websocket("/room")
async def room(websocket: WebSocket) -> None:
    """Send everything to all."""
    await manager.connect(websocket)
    try:
        while True:
            await manager.broadcast(await websocket.receive_text())
    except WebSocketDisconnect:
        manager.disconnect(websocket)
