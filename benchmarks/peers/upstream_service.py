"""A service behind a gateway: it answers each request at once, or at `/hang` never."""

import asyncio

from starlette.types import Receive, Scope, Send

ANSWER = b'{"data":{"order":7,"state":"accepted"}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a request, and answer it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/hang":
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
