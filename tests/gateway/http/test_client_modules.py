"""The JavaScript client as the gateway serves it: for pages of other origins too, and in production."""

import secrets
from pathlib import Path

import httpx2

from gateway.http.client_modules import MODULES, TYPES
from gateway.testing import StartGateway
from tests.support.client import NO_AUTHORITIES, App

CLIENT = Path(__file__).parents[3] / "clients/javascript"


async def test_a_page_loads_the_client_from_the_gateway(app: App) -> None:
    for name, types in MODULES.items():
        answer = await app.http.get(f"/client/{name}")
        assert answer.status_code == 200
        assert answer.text == (CLIENT / name).read_text()
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-TypeScript-Types"] == f"./{types}"
        assert types in TYPES
        assert (await app.http.head(f"/client/{name}")).headers["ETag"] == answer.headers["ETag"]


async def test_the_types_are_beside_it(app: App) -> None:
    for name in TYPES:
        answer = await app.http.get(f"/client/{name}")
        assert answer.text == (CLIENT / name).read_text()
        assert answer.headers["Content-Type"].startswith("application/typescript")


async def test_a_browser_asks_each_time_and_loads_it_once(app: App) -> None:
    answer = await app.http.get("/client/gateway-client.js")
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await app.http.get("/client/gateway-client.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_nothing_else_of_the_folder_is_served(app: App) -> None:
    for name in ("package.json", "README.md", "..%2fpackage.json", "conformance/driver.mjs", ""):
        assert (await app.http.get(f"/client/{name}")).status_code == 404, name


async def test_in_production_allowed_origins_may_load_it(start_gateway: StartGateway) -> None:
    gateway = start_gateway(
        environment="production",
        password_rounds=10,
        secret_key=secrets.token_urlsafe(40),
        allowed_origins=["https://shop.example.com"],
    )
    async with httpx2.AsyncClient(base_url=gateway.url, verify=NO_AUTHORITIES) as http:
        for origin, allowed in (("https://shop.example.com", "https://shop.example.com"), ("https://other.com", None)):
            answer = await http.get("/client/gateway-client.js", headers={"Origin": origin})
            assert answer.status_code == 200
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
