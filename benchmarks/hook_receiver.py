"""A receiver of events, for `benchmarks.hooks`: it writes each one down before it answers.

It needs the standard library alone, so it starts in a moment. What it has written survives its own kill.
"""

import asyncio
import json
import os
import random
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection."""

    def __init__(self, file: int, slowest_answer: float) -> None:
        self._file = file
        self._slowest_answer = slowest_answer
        self._got = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a TCP connection
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a whole request, which is the only one on its way."""
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:]) if end else {}
        if end and len(body) >= int(fields[b"content-length"]):
            self._got = b""
            self._write_down(fields[b"webhook-id"].decode(), body.decode())

    def _write_down(self, id: str, body: str) -> None:
        os.write(self._file, (json.dumps({"at": time.time(), "id": id, "body": body}) + "\n").encode())
        assert self._transport is not None  # noqa: S101 - connected
        if self._slowest_answer:
            wait = random.uniform(0, self._slowest_answer)  # noqa: S311 - chance, not secrets
            asyncio.get_running_loop().call_later(wait, self._transport.write, ANSWER)
        else:
            self._transport.write(ANSWER)


async def serve(port: int, path: str, slowest_answer: float) -> None:
    """Serve until the end of the process."""
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(file, slowest_answer), "127.0.0.1", port, backlog=1000
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
