"""The documents about messages over HTTP: they are of this gateway, at its address, and only in development."""

import re
import secrets
from urllib.parse import urljoin

import httpx2

from gateway.testing import StartGateway
from tests.support.client import NO_AUTHORITIES, App


async def test_the_websocket_is_described_at_the_address_that_the_client_knows(app: App) -> None:
    answer = await app.http.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    server = answer.json()["servers"]["gateway"]
    assert (server["protocol"], server["host"]) == ("ws", f"{app.gateway.host}:{app.gateway.port}")
    named = await app.http.get("/asyncapi.json", headers={"Host": "example.com:81"})
    assert named.json()["servers"]["gateway"]["host"] == "example.com:81"
    older = await app.http.get("/asyncapi.json?version=2.6.0")
    assert (older.status_code, older.json()["asyncapi"]) == (200, "2.6.0")
    assert (await app.http.get("/asyncapi.json?version=1.0.0")).status_code == 422
    for host in ("]", "[::", "a b", '"><script>', "x" * 5000):
        answer = await app.http.get("/asyncapi.json", headers={"Host": host})
        assert answer.status_code in {200, 400}, host


async def test_there_are_none_in_production(start_gateway: StartGateway) -> None:
    gateway = start_gateway(environment="production", password_rounds=10, secret_key=secrets.token_urlsafe(40))
    async with httpx2.AsyncClient(base_url=gateway.url, verify=NO_AUTHORITIES) as http:
        for path in ("/asyncapi.json", "/docs/messages", "/docs/messages.js", "/docs/pages.css", "/docs", "/redoc"):
            assert (await http.get(path)).status_code == 404, path


async def test_the_page_and_all_that_it_loads_come_from_the_gateway_under_a_strict_policy(app: App) -> None:
    page = await app.http.get("/docs/messages")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert re.findall(r"<script[^>]*>[^<]", page.text) == []
    loaded = re.findall(r'<(?:link|script)[^>]* (?:src|href)="([^"]+)"', page.text)
    assert sorted(loaded) == ["data:,", "messages.css", "messages.js"]
    for name in ("messages.css", "messages.js"):
        part = await app.http.get(f"/docs/{name}")
        assert (part.status_code, part.headers["Content-Security-Policy"]) == (200, policy)
        assert "http" not in part.text.replace("json-gateway", "").replace("plain http", "")


async def test_the_pages_lead_to_each_other(app: App) -> None:
    for page in ("/docs/messages", "/docs", "/redoc", "/"):
        text = (await app.http.get(page)).text
        links = {urljoin(page, link) for link in re.findall(r'<a href="([^"#]+)"', text)}
        links |= {urljoin(page, link) for link in re.findall(r'<a (?:[^>]* )?href="([^"#]+)"', text)}
        assert {"/docs/messages", "/docs"} <= links, page
        assert page == "/" or {"/redoc", "/"} <= links, page
        for link in links:
            if link.startswith("/"):
                assert (await app.http.get(link)).status_code == 200, (page, link)
