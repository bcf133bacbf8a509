"""What a client does that asks for a stream."""

from typing import Any

from tests.support.client import ChatClient, Frame


async def start(client: ChatClient, id: int, type: str = "orders.create", **data: Any) -> int:
    """Ask for a stream."""
    await client.send({"type": type, "id": id, "stream": True, "data": data})
    return id


async def answer_of(client: ChatClient, id: int) -> tuple[list[Any], Frame]:
    """Take the chunks of an answer and its end. The numbers must have no gap."""
    chunks: list[Any] = []
    while True:
        frame = await client.next()
        assert frame["id"] == id, frame
        if frame["type"] != "chunk":
            return chunks, frame
        chunks.append(frame["data"])
        assert frame["seq"] == len(chunks)
