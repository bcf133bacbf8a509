"""Calls of routes."""

from typing import Protocol


class Transport(Protocol):
    """Carries messages of one route to its service, and the answers back."""

    async def send(self, body: bytes, message_id: str, seconds: float) -> bytes:
        """Return the JSON of the service's answer, at most a frame long. `body` is the JSON of the message.

        Raise `UpstreamTimeout` if there is no answer within `seconds`, and `UpstreamFailed` if there will be none. A
        cancelled call needs no answer any more.
        """

    async def close(self) -> None:
        """Release what it holds, because the route is gone or has changed. No call is under way."""
