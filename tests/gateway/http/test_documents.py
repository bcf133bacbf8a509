"""The documents about messages over HTTP: they are of this gateway, at its address, and only in development."""

import secrets

import httpx2
import pytest

from gateway.testing import StartGateway
from tests.support.client import NO_AUTHORITIES, App


async def test_the_websocket_is_described_at_the_address_that_the_client_knows(app: App) -> None:
    answer = await app.http.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    server = answer.json()["servers"]["gateway"]
    assert (server["protocol"], server["host"]) == ("ws", f"{app.gateway.host}:{app.gateway.port}")
    named = await app.http.get("/asyncapi.json", headers={"Host": "example.com:81"})
    assert named.json()["servers"]["gateway"]["host"] == "example.com:81"
    for host in ("]", "[::", "a b", '"><script>', "x" * 5000):
        answer = await app.http.get("/asyncapi.json", headers={"Host": host})
        assert answer.status_code in {200, 400}, host


@pytest.mark.parametrize("path", ["/asyncapi.json"])
async def test_there_are_none_in_production(start_gateway: StartGateway, path: str) -> None:
    gateway = start_gateway(environment="production", password_rounds=10, secret_key=secrets.token_urlsafe(40))
    async with httpx2.AsyncClient(base_url=gateway.url, verify=NO_AUTHORITIES) as http:
        assert (await http.get(path)).status_code == 404
