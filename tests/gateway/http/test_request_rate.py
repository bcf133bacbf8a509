"""A client that sends too many requests must wait, and its neighbours need not."""

import time

import pytest
from websockets.asyncio.client import connect

from gateway.core import costs
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient

RATE = 5


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_an_address_that_asks_too_much_is_told_when_to_come_again(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(request_rate=RATE, trusted_proxies="127.0.0.1", allowed_origins="https://app.example.com")
    gateway.clock.stop()
    async with App(gateway) as app:
        for _ in range(RATE):
            assert (await app.http.get("/readyz", headers=of("198.51.100.1"))).status_code == 200
        page = of("198.51.100.1") | {"Origin": "https://app.example.com"}
        refused = await app.http.get("/readyz", headers=page)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert refused.json()["status"] == 42900
        # A monitor gets an answer, and so do all other clients.
        assert (await app.http.get("/healthz", headers=of("198.51.100.1"))).status_code == 200
        assert (await app.http.get("/readyz", headers=of("198.51.100.2"))).status_code == 200
        gateway.clock.ahead += 1
        assert (await app.http.get("/readyz", headers=of("198.51.100.1"))).status_code == 200


async def test_a_preflight_is_a_request(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(request_rate=RATE, allowed_origins="https://app.example.com")
    gateway.clock.stop()
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    async with App(gateway) as app:
        answers = [await app.http.options("/token", headers=preflight) for _ in range(RATE + 1)]
    assert [answer.status_code for answer in answers] == [200] * RATE + [429]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/publish", 405),
        ("POST", "/api/publish", 401),
        ("GET", "/hook/gwk_x", 405),
        ("POST", "/hook/gwk_x", 404),
        ("PUT", "/token/introspect", 405),
        ("POST", "/token/introspect", 401),
    ],
)
async def test_a_path_for_services_is_no_way_round_the_rate(
    own_gateway: OwnGateway, method: str, path: str, status: int
) -> None:
    gateway = own_gateway(request_rate=RATE)
    gateway.clock.stop()
    async with App(gateway) as app:
        seen = [(await app.http.request(method, path, data={"token": "x"})).status_code for _ in range(RATE + 1)]
    assert seen == [status] * RATE + [429]


async def test_of_ipv6_a_network_is_one_address(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(request_rate=RATE, trusted_proxies="127.0.0.1")
    gateway.clock.stop()
    async with App(gateway) as app:
        for number in range(RATE):
            assert (await app.http.get("/readyz", headers=of(f"2001:db8::{number}"))).status_code == 200
        assert (await app.http.get("/readyz", headers=of("2001:db8::ffff"))).status_code == 429
        assert (await app.http.get("/readyz", headers=of("2001:db8:0:1::1"))).status_code == 200


async def test_a_client_that_repeats_at_once_is_slowed_down(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(request_rate=RATE)
    gateway.clock.stop()
    statuses = []
    async with App(gateway) as app:
        for _ in range(RATE + 1):
            began = time.monotonic()
            statuses.append((await app.http.get("/readyz")).status_code)
    assert time.monotonic() - began > 0.9
    assert statuses == [200] * RATE + [429]


async def test_a_handshake_is_no_request(own_gateway: OwnGateway, alice: str) -> None:
    async with App(own_gateway(request_rate=RATE)) as app:
        token = await app.token(alice)
        for _ in range(2 * RATE):
            async with app.socket(f"?token={token}") as client:
                await client.expect("welcome", user=alice)


@pytest.mark.parametrize("path", ["/ws/chat?token=x", "/ws/elsewhere"])
async def test_a_client_that_repeats_refused_handshakes_is_slowed_down(own_gateway: OwnGateway, path: str) -> None:
    gateway = own_gateway(connection_rate=RATE)
    gateway.clock.stop()
    statuses = []
    for _ in range(RATE + 1):
        began = time.monotonic()
        async with connect(f"{gateway.ws_url}{path}") as ws:
            statuses.append((await ChatClient(ws).expect("error"))["status"])
    assert time.monotonic() - began > 0.9
    assert [status == 42900 for status in statuses] == [False] * RATE + [True]


async def test_requests_of_a_user_cost_what_messages_do(own_gateway: OwnGateway, alice: str, bob: str) -> None:
    gateway = own_gateway(message_rate_per_user=30, message_burst=30)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect(alice) as client:
        mine, others = await app.token(alice), await app.token(bob)
        asked = [("GET", "/users/me/sessions"), ("GET", "/users/me"), ("DELETE", "/users/me/sessions/x")]
        answers = [await app.ask(*asked[number % 3], mine) for number in range(int(30 / costs.REQUEST) + 1)]
        assert [answer.status_code == 429 for answer in answers] == [False] * (len(answers) - 1) + [True]
        assert answers[-1].headers["Retry-After"] == "1"
        assert (await app.ask("POST", "/ws/ticket", mine)).status_code == 429
        assert (await client.refused("ping"))["status"] == 42900
        assert (await app.ask("GET", "/users/me", others)).status_code == 200
        gateway.clock.ahead += 1
        assert (await app.ask("POST", "/ws/ticket", mine)).status_code == 200
