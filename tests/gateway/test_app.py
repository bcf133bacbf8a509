"""The application as a whole: paths behind a proxy, and pages of other origins."""

from pathlib import Path

import httpx2

from gateway.app import create_app
from gateway.testing import settings_for_tests
from tests.conftest import OwnGateway
from tests.support.client import App


async def test_a_page_of_an_allowed_origin_may_ask(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(allowed_origins=("https://app.example.com",))) as app:
        preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
        response = await app.http.options("/token", headers=preflight)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        for other in ("https://evil.example.com", "https://app.example.com.evil.com", "null"):
            response = await app.http.options("/token", headers=preflight | {"Origin": other})
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_no_page_of_another_origin_may_ask_unless_allowed(app: App) -> None:
    response = await app.http.get("/healthz", headers={"Origin": "https://app.example.com"})
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_gateway_works_below_the_path_of_a_proxy(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(root_path="/gateway")) as app:
        assert (await app.http.get("/gateway/healthz")).status_code == 200
        assert (await app.http.get("/healthz")).status_code == 200  # a proxy may cut the path off
        servers = (await app.http.get("/openapi.json")).json()["servers"]
        assert servers == [{"url": "/gateway"}]
        async with app.connect("alice") as client:
            await client.expect_nothing()


async def test_an_application_can_be_made_without_being_started(tmp_path: Path) -> None:
    create_app(settings_for_tests(tmp_path / "never-made"))
    assert not (tmp_path / "never-made").exists()


async def test_the_page_comes_with_a_strict_policy(app: App) -> None:
    response: httpx2.Response = await app.http.get("/")
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["Referrer-Policy"] == "no-referrer"
