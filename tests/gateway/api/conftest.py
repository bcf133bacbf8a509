"""A backend service that uses the gateway's API."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest

from gateway.testing import Gateway
from schemas.services import SERVICE_SCOPES
from tests.support.client import NO_AUTHORITIES, WAIT_SECONDS, Frame
from tests.support.services import add_service


class Backend:
    """A backend with a key: it knows the gateway, and speaks HTTP with it."""

    def __init__(self, gateway: Gateway, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.sender = f"service:{name}"
        self.http = httpx2.AsyncClient(
            base_url=gateway.url,
            timeout=WAIT_SECONDS,
            verify=NO_AUTHORITIES,
            trust_env=False,
            headers={"Authorization": f"Bearer {key}"},
        )

    async def request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """Send a request."""
        return await self.http.request(method, path, **content)

    async def ask(self, method: str, path: str, **content: Any) -> Frame:
        """Send a request that must succeed, and return the answer."""
        response = await self.request(method, path, **content)
        assert response.is_success, response.text
        answer: Frame = response.json() if response.content else {}
        return answer

    async def refused(self, method: str, path: str, **content: Any) -> Frame:
        """Send a request that must fail, and return the error."""
        response = await self.request(method, path, **content)
        assert response.is_client_error, response.text
        error: Frame = response.json()
        # RFC 9110 has 401 for a failed authentication.
        assert response.status_code == (401 if error["status"] == 40001 else error["status"] // 100)
        return error

    async def publish(self, *, headers: dict[str, str] | None = None, **body: Any) -> list[Frame]:
        """Publish, and return the results."""
        results: list[Frame] = (await self.ask("POST", "/api/publish", json=body, headers=headers or {}))["results"]
        return results


StartBackend = Callable[..., AbstractAsyncContextManager[Backend]]


@pytest.fixture
def backend(unique: Callable[[str], str]) -> StartBackend:
    """Add services to a gateway, by default with all scopes, and use their keys."""

    @asynccontextmanager
    async def start(gateway: Gateway, *scopes: str, rooms: Iterable[str] | None = None) -> AsyncIterator[Backend]:
        name = unique("orders")
        made = Backend(gateway, name, await add_service(gateway, name, *(scopes or SERVICE_SCOPES), rooms=rooms))
        async with made.http:
            yield made

    return start
