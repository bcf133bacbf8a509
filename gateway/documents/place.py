"""Where a gateway is, for documents that name its address; and the files that a format makes."""

from dataclasses import dataclass

from gateway import __version__

Files = dict[str, str]
"""Texts by their paths. A path is relative, has `/` between its parts, and never leaves the folder."""


@dataclass(frozen=True)
class Place:
    """The base URLs of a gateway, without a slash at the end, and its name and version."""

    http_url: str = "http://127.0.0.1:8000"
    ws_url: str = "ws://127.0.0.1:8000"
    name: str = "json-gateway"
    version: str = __version__

    @property
    def chat_url(self) -> str:
        """Return the URL of the WebSocket."""
        return f"{self.ws_url}/ws/chat"
