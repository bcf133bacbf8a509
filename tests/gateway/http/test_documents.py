"""The documents about messages over HTTP: they are of this gateway, at its address, and only in development."""

from fastapi import FastAPI

from gateway import attach
from gateway.testing import running_gateway
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.own_types import OWN

PRODUCTION = {"environment": "production", "secret_key": "k7Q2mZx9Lr4Vb8Wn3Tc6Yd1Hs5Jp0Gf=", "password_rounds": 10}


async def test_the_websocket_is_described_at_the_address_that_the_client_knows(app: App) -> None:
    answer = await app.http.get("/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document["asyncapi"] == "3.0.0"
    server = document["servers"]["gateway"]
    assert (server["protocol"], server["host"]) == ("ws", f"{app.gateway.host}:{app.gateway.port}")
    for host in ("]", "[::", "a b", '"><script>', "ü.example"):
        answer = await app.http.get("/asyncapi.json", headers={"Host": host.encode()})
        assert answer.status_code in {200, 400}, host
