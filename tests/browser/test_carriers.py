"""Connections of a page in a real browser, with each kind of credential, and from another origin."""

import pytest
from playwright.async_api import Browser

from tests.conftest import OwnGateway
from tests.support.client import App

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop

# Gives the types of the frames up to `welcome` or `bye`, and the subprotocol.
CONNECT = """([url, protocols, first]) => new Promise((resolve) => {
  const socket = new WebSocket(url, protocols);
  const frames = [];
  socket.onopen = () => { if (first) socket.send(first); };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    frames.push(frame.type);
    if (frame.type === "welcome" || frame.type === "bye") {
      resolve([...frames, frame.data.reason ?? frame.data.user, socket.protocol]);
      socket.close();
    }
  };
  socket.onerror = () => resolve(["no connection"]);
})"""

BUY = """async (authorization) => {
  const answer = await fetch("/ws/ticket", { method: "POST", headers: { Authorization: authorization } });
  return (await answer.json()).ticket;
}"""


async def test_a_page_can_log_in_in_every_way_that_a_page_has(browser: Browser, own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    url = f"{gateway.ws_url}/ws/chat"
    async with App(gateway) as app, await browser.new_context() as context:
        token = await app.token("alice")
        page = await context.new_page()
        await page.goto(f"{gateway.url}/healthz")

        async def connect(query: str, protocols: list[str], first: str = "") -> list[str]:
            frames: list[str] = await page.evaluate(CONNECT, [url + query, protocols, first])
            return frames

        assert await connect("", ["gateway.v1", f"bearer.{token}"]) == ["welcome", "alice", "gateway.v1"]
        assert await connect("", ["gateway.v1", "bearer.x"]) == ["error", "bye", "authentication_failed", "gateway.v1"]
        ticket = await page.evaluate(BUY, f"Bearer {token}")
        assert await connect(f"?ticket={ticket}", []) == ["welcome", "alice", ""]
        assert await connect(f"?ticket={ticket}", []) == ["error", "bye", "authentication_failed", ""]
        first = f'{{"type":"auth","id":1,"data":{{"token":"{token}"}}}}'
        assert await connect("", [], first) == ["reply", "welcome", "alice", ""]
        await context.add_cookies([{"name": "session", "value": token, "url": gateway.url, "httpOnly": True}])
        assert await connect("", []) == ["welcome", "alice", ""]


async def test_a_page_from_elsewhere_is_refused_even_with_its_visitors_cookie(
    browser: Browser, own_gateway: OwnGateway
) -> None:
    elsewhere = own_gateway()
    gateway = own_gateway()
    async with App(gateway) as app, await browser.new_context() as context:
        token = await app.token("alice")
        await context.add_cookies([{"name": "session", "value": token, "url": gateway.url, "sameSite": "Lax"}])
        page = await context.new_page()
        await page.goto(f"{elsewhere.url}/healthz")  # another port of this machine: the same site, and another origin
        for query in ("", f"?token={token}"):
            frames = await page.evaluate(CONNECT, [f"{gateway.ws_url}/ws/chat{query}", [], ""])
            assert frames == ["error", "bye", "forbidden_origin", ""]
