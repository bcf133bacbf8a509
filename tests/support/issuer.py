"""A real HTTP server on loopback as an external service: an issuer with keys, and one that describes tokens.

A test controls it: it can rotate its keys, hang, lie, send too much, redirect, or be down.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.cli.serve import listen
from gateway.testing.server import serving
from tests.gateway.auth.forging import Signer, good_claims


class FakeService:
    """Its next answers, and the requests that it received."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.keys: list[dict[str, Any]] = []
        self.tokens: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, bytes | int] = {}  # by path, in place of its usual answers: a body or a status
        self.body: bytes | None = None  # instead of its usual answer
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hanging = False
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def times(self, path: str) -> int:
        """Return the number of requests at this path."""
        return sum(1 for asked, _, _ in self.asked if asked == path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append((scope["path"], {name.decode(): value.decode() for name, value in scope["headers"]}, form))
        while self.hanging:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.005)
        status, answer = self._answer(scope["path"], form)
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, path: str, form: dict[str, str]) -> tuple[int, bytes]:
        if self.body is not None or self.status != 200:
            return self.status, self.body or b""
        page = self.pages.get(path)
        if page is None and "/.well-known/" in path:
            page = 404
        if page is not None:
            return (page, b"") if isinstance(page, int) else (200, page)
        if path == "/introspect":
            return 200, encoded(self.tokens.get(form.get("token", ""), {"active": False}))
        return 200, encoded({"keys": self.keys})

    def discovery(self, **changes: Any) -> bytes:
        """Its document of discovery, with these changes."""
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | changes
        return encoded({name: value for name, value in document.items() if value is not ...})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token of this issuer."""
        claims = {
            "iss": self.url,
            "aud": "chat",
            "sub": "user|7",
            "preferred_username": "carol",
            "sid": ...,
            "nbf": ...,
        }
        return good_claims(**(claims | {"jti": ..., "scope": "openid"} | changes))

    def token(self, signer: Signer, **changes: Any) -> str:
        """Sign a good token with these changes."""
        return signer.sign(self.claims(**changes), typ="JWT")


def encoded(document: Any) -> bytes:
    """Write JSON."""
    return json.dumps(document).encode()


def basic(user: str, password: str) -> str:
    """The header of HTTP Basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def running_service(port: int = 0, **options: Any) -> Iterator[FakeService]:
    """Start it, on a free port unless one is given, and stop it at the end. `options` are uvicorn's."""
    sock = listen("127.0.0.1", port)
    service = FakeService(sock.getsockname()[1])
    config = uvicorn.Config(
        service, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, **options
    )
    with serving(config, sock):
        try:
            yield service
        finally:
            service.hanging = False
