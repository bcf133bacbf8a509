"""Where the keys of an issuer come from: a document at a URL that the settings name (RFC 7517 §5)."""

from typing import Any, Protocol

from gateway.auth.external.identity_provider_client import make_http_client, request_json


class KeysDocument(Protocol):
    """Fetches the document with the keys of one issuer."""

    async def fetch(self, seconds: float) -> dict[str, Any]:
        """Return the document, or raise `RequestFailed`, at the latest after these seconds."""

    async def close(self) -> None:
        """Close the idle connections."""


class DocumentAt:
    """The document at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = make_http_client(url)

    async def fetch(self, seconds: float) -> dict[str, Any]:
        """Return the document, or raise `RequestFailed`, at the latest after these seconds."""
        return await request_json(self._client, "GET", seconds)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._client.close()
