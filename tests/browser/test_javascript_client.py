"""gateway-client in a real browser: sleep, networks that go and come back, and tabs that share a refresh token."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page
from starlette.requests import Request
from starlette.responses import Response

from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.browser.conftest import Wire
from tests.support.client import PASSWORD, App
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop

DOCUMENT = Path(__file__).parents[2] / "docs/clients.md"
FILES = {
    "page": (
        "text/html",
        """<!doctype html><title>a page</title><script type="module">
            import { connect } from "/client/gateway-client.js";
            import * as tokens from "./tokens.js";
            Object.assign(globalThis, { connect, tokens, heard: [], gaps: [], asked: [], states: [], isLoaded: true });
            globalThis.start = (name, options = {}) => {
              const getToken = (request) => {
                asked.push(request.reason);
                return tokens.getToken(request);
              };
              const times = { backoff: 20, rest: 0, ...options.times };
              globalThis.gateway = connect("/", { getToken, ...options, times });
              gateway.onState((state) => states.push(state));
              globalThis.room = gateway.room(name);
              room.on("message", ({ text }) => heard.push(text));
              room.on("gap", ({ reason }) => gaps.push(reason));
              return room.join().then(() => "joined");
            };
            globalThis.logIn = async (username, password) => {
              const body = new URLSearchParams({ username, password });
              const answer = await fetch("/token", { method: "POST", body });
              tokens.store((await answer.json()).refresh_token);
            };
        </script>""",
    ),
    "documented": ("text/html", "".join(re.findall(r"```html\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))),
    "other": ("text/html", "<!doctype html><title>another page</title>"),
    "tokens.js": (
        "text/javascript",
        next(code for code in re.findall(r"```js\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "getToken()" in code),
    ),
}
COUNT_SOCKETS = """
    globalThis.sockets = 0;
    globalThis.WebSocket = class extends WebSocket { constructor(...values) { super(...values); sockets += 1; } };
"""
BLOCK_STORAGE = """
    Object.defineProperty(window, "localStorage", { get() { throw new DOMException("denied", "SecurityError"); } });
"""
FILL_STORAGE = """() => {
    for (let size = 1 << 20; size; size >>= 1) {
        for (let at = 0; at < 20; at += 1) {
            try { localStorage.setItem(`filler-${size}-${at}`, "x".repeat(size)); } catch { break; }
        }
    }
}"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a clock that a test may move."""
    with running_gateway(settings_for_tests(tmp_path_factory.mktemp("live")), extend=with_pages) as gateway:
        yield gateway


def with_pages(app: FastAPI) -> None:
    """Add the pages to the gateway: a browser lets no page of a test's own making open a socket to this machine."""

    async def file(request: Request) -> Response:
        media_type, body = FILES[request.path_params["name"]]
        return Response(body, media_type=media_type)

    app.add_route("/test/{name}", file)


@pytest_asyncio.fixture(loop_scope="session")
async def people(live: Gateway) -> AsyncIterator[App]:
    async with App(live) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, live: Gateway) -> AsyncIterator[BrowserContext]:
    """A window of a browser."""
    async with await browser.new_context(base_url=live.url) as context:
        context.set_default_timeout(20_000)
        yield context


async def tab_of(window: BrowserContext) -> Page:
    page = await window.new_page()
    await page.goto("/test/page")
    await page.wait_for_function("globalThis.isLoaded")
    return page


async def logged_in(window: BrowserContext, people: App, user: str, room: str, **options: Any) -> Page:
    """Return a tab of this user, in this room."""
    await people.register(user)
    page = await tab_of(window)
    await page.evaluate("([user, password]) => logIn(user, password)", [user, PASSWORD])
    assert await page.evaluate("([room, options]) => start(room, options)", [room, options]) == "joined"
    return page


async def test_the_page_of_the_documentation_talks(window: BrowserContext, people: App) -> None:
    await people.register("paula")
    page = await window.new_page()
    await page.goto("/test/documented")
    await page.fill("[name=username]", "paula")
    await page.fill("[name=password]", "wrong password")
    await page.click("text=Log in")
    await page.get_by_text("getToken returned no token").wait_for()
    await page.fill("[name=password]", PASSWORD)
    await page.click("text=Log in")
    await page.get_by_text("Connected").wait_for()
    await page.fill("[name=text]", "Hello from a page")
    await page.click("text=Send")
    await page.get_by_text("paula: Hello from a page").wait_for()
    assert await page.input_value("[name=text]") == ""


async def test_a_page_that_sleeps_for_longer_than_its_token_misses_nothing(
    window: BrowserContext, people: App, live: Gateway
) -> None:
    page = await logged_in(window, people, "alice", "dormitory")
    devtools = await window.new_cdp_session(page)
    async with people.in_room("bob", "dormitory") as bob:
        await bob.say("dormitory", "Good night")
        await page.wait_for_function("heard.length === 1")
        await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        for number in range(5):
            await bob.say("dormitory", f"while you slept {number}")
        live.clock.ahead += 7200
        try:
            await devtools.send("Page.setWebLifecycleState", {"state": "active"})
            await page.evaluate("document.dispatchEvent(new Event('resume'))")  # some versions do not say it
            await page.wait_for_function("asked.length === 2 && gateway.state === 'open' && room.state === 'joined'")
            assert await page.evaluate("asked") == ["connect", "refused"]
            assert await page.evaluate("room.send('I am awake').then(({ duplicate }) => duplicate)") is False
            await page.wait_for_function("heard.length === 7")
            assert await page.evaluate("heard") == [
                "Good night",
                *(f"while you slept {number}" for number in range(5)),
                "I am awake",
            ]
            assert await page.evaluate("gaps") == []
        finally:
            live.clock.ahead = 0.0
    await page.close()


async def test_when_the_network_returns_a_ping_decides(window: BrowserContext, people: App) -> None:
    await window.add_init_script(COUNT_SOCKETS)
    page = await logged_in(window, people, "carol", "train")
    answered = "() => gateway.call('ping').then(() => sockets)"
    await window.set_offline(True)
    await window.set_offline(False)  # the browser says `online`
    assert await page.evaluate(answered) == 1
    for event in ("pageshow", "online"):
        await page.evaluate("(name) => dispatchEvent(new Event(name))", event)
        assert await page.evaluate(answered) == 1
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert await page.evaluate(answered) == 1
    assert await page.evaluate("states") == ["connecting", "open"]


async def test_a_connection_that_died_unnoticed_is_replaced(window: BrowserContext, people: App) -> None:
    wire = Wire()
    await window.route_web_socket("**/ws/chat*", wire.connect)
    page = await logged_in(window, people, "dave", "tunnel", times={"ping": 200, "welcome": 1000})
    wire.loses_heard = ("",)  # each frame
    async with people.in_room("bob", "tunnel") as bob:
        await bob.say("tunnel", "lost on the way")
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        await until(lambda: _is(len(wire.urls) > 1))
        wire.mend()
        await page.wait_for_function("heard.includes('lost on the way')")
    assert await page.evaluate("[gaps, heard]") == [[], ["lost on the way"]]


async def _is(value: bool) -> bool:
    return value


async def test_two_tabs_share_one_refresh_token(window: BrowserContext, people: App) -> None:
    first = await logged_in(window, people, "erin", "office")
    second = await tab_of(window)
    assert await second.evaluate("start('office')") == "joined"
    renew = "() => Promise.all([1, 2, 3].map(() => tokens.getToken({ reason: 'expiring' })))"
    of_first, of_second = await asyncio.gather(first.evaluate(renew), second.evaluate(renew))
    renewed = [*of_first, *of_second]
    assert len(set(renewed)) == 6
    assert all(renewed)
    await first.evaluate("room.send('from the first')")
    await second.wait_for_function("heard.includes('from the first')")
    for page in (first, second):  # the session lives: no token was used twice
        assert await page.evaluate("gateway.call('ping').then(() => gateway.state)") == "open"
        assert await page.evaluate("tokens.getToken({}).then(Boolean)")


async def test_a_blocked_storage_keeps_the_token_in_its_tab(window: BrowserContext, people: App) -> None:
    await window.add_init_script(BLOCK_STORAGE)
    page = await logged_in(window, people, "frank", "vault")
    for _ in range(3):
        assert await page.evaluate("tokens.getToken({}).then(Boolean)")
    other = await tab_of(window)
    assert await other.evaluate("start('vault').catch(({ why }) => why.reason)") == "no_token"


async def test_a_full_storage_leaves_no_spent_token_to_other_tabs(window: BrowserContext, people: App) -> None:
    page = await logged_in(window, people, "grace", "attic")
    await page.evaluate("localStorage.setItem('gateway-refresh-token', '')")  # so that there is no place for the next
    await page.evaluate("tokens.store(null)")
    await page.evaluate(FILL_STORAGE)
    await page.evaluate("([user, password]) => logIn(user, password)", ["grace", PASSWORD])
    for _ in range(3):
        assert await page.evaluate("tokens.getToken({}).then(Boolean)")
    assert await page.evaluate("localStorage.getItem('gateway-refresh-token')") is None
    other = await tab_of(window)
    assert await other.evaluate("start('attic').catch(({ why }) => why.reason)") == "no_token"
    assert await page.evaluate("tokens.getToken({}).then(Boolean)")
