"""What the gateway sees of one request, for `gateway doctor`: whether proxies pass on a client's address."""

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.core.local_socket import LocalFailed

if TYPE_CHECKING:
    from starlette.types import Scope

QUESTION = "request.seen"
PEER = "gateway.peer"
"""The key of the address that has connected, in the scope of what a trusted proxy passes on."""

WATCH_SECONDS = 3.0
MAX_WATCHED = 16
"""More than one person runs at a time. A further question is refused."""


class RequestWatch:
    """Waits for requests with a certain `X-Request-ID`, which only the person that asks knows."""

    def __init__(self) -> None:
        self.watched: dict[str, asyncio.Future[dict[str, Any]]] = {}
        """Nearly always empty: each request looks whether it is."""

    async def seen(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what is seen of the next request with an id, or raise `LocalFailed` if none comes."""
        request_id = data.get("id")
        if not isinstance(request_id, str) or len(self.watched) >= MAX_WATCHED:
            raise LocalFailed("expected the id of a request, and not too many at a time")
        future = self.watched[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                seen: dict[str, Any] = await future
        except TimeoutError:
            raise LocalFailed("no such request came") from None
        finally:
            self.watched.pop(request_id, None)
        return seen

    def note(self, id: str, scope: "Scope") -> None:
        """Answer the question about a request, if there is one."""
        future = self.watched.get(id)
        if future is None or future.done():
            return
        client = scope.get("client") or ("", 0)
        peer = scope.get(PEER) or client
        forwarded = [value.decode("latin-1")[:256] for name, value in scope["headers"] if name == b"x-forwarded-for"]
        future.set_result({"client": client[0], "peer": peer[0], "scheme": scope.get("scheme"), "forwarded": forwarded})
