"""A real browser with tabs, used as people use them. Every wait has a timeout."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocketRoute, async_playwright, expect

from gateway.testing import Gateway
from tests.support.client import PASSWORD, App
from tests.support.lacking import lacking

WAIT_MS = 20_000
START_MS = 30_000
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Wire:
    """The way from a tab to the gateway, which a test can cut and repair.

    Frames that contain one of certain words get lost: `loses_sent` those of the page, `loses_heard` those for it.
    `urls` are those that the page has connected to.
    """

    def __init__(self) -> None:
        self.loses_sent: tuple[str, ...] = ()
        self.loses_heard: tuple[str, ...] = ()
        self.urls: list[str] = []
        self._mended = asyncio.Event()
        self._mended.set()
        self._socket: WebSocketRoute | None = None

    async def connect(self, socket: WebSocketRoute) -> None:
        """Connect the page with the gateway, as soon as the way is open."""
        await self._mended.wait()
        self._socket = socket
        self.urls.append(socket.url)
        server = socket.connect_to_server()
        socket.on_message(lambda frame: None if any(word in frame for word in self.loses_sent) else server.send(frame))
        server.on_message(lambda frame: None if any(word in frame for word in self.loses_heard) else socket.send(frame))

    async def cut(self) -> None:
        """Close the connection, as a stopping gateway does, and allow none until it is repaired."""
        self._mended.clear()
        self.tell("bye", code=1012, reason="draining", reconnect="after_delay", after_ms=0)
        await self.close(1012, "draining")

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        assert self._socket is not None
        await self._socket.close(code=code, reason=reason)

    def mend(self) -> None:
        """Allow connections and everything else again."""
        self.loses_sent = self.loses_heard = ()
        self._mended.set()

    def tell(self, type: str, **data: Any) -> None:
        """Send the page an event that the gateway does not know."""
        assert self._socket is not None
        self._socket.send(json.dumps({"type": type, "data": data}))


class Tab:
    """The page at `/` in its own tab."""

    def __init__(self, page: Page, gateway: Gateway) -> None:
        self.page = page
        self.url = f"{gateway.url}/"
        self.wire = Wire()
        self.problems: list[str] = []
        self.messages = page.get_by_role("log", name="Messages")
        self.frames = page.get_by_role("log", name="Frames")
        self.status = page.get_by_role("status")
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.problems.append(text)

    async def open(self) -> None:
        await self.page.route_web_socket("**/ws/chat*", self.wire.connect)
        await self.page.goto(self.url)

    async def enter(self, button: str, name: str, password: str = PASSWORD) -> None:
        """Fill in the first form, and press `Log in` or `Register`."""
        await self.page.get_by_label("User name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name=button).click()

    async def register(self, name: str) -> str:
        """Register, and return the token that the page received."""
        async with self.page.expect_response("**/token") as answer:
            await self.enter("Register", name)
        token: str = (await (await answer.value).json())["access_token"]
        await expect(self.status).to_have_text(f"Connected as {name}")
        return token

    async def join(self, room: str) -> None:
        await self.page.get_by_label("Room").fill(room)
        await self.page.get_by_role("button", name="Join").click()
        await self.in_room(room)

    async def in_room(self, room: str) -> None:
        await expect(self.page.get_by_placeholder(f"Message to {room}")).to_be_enabled()

    async def say(self, text: str) -> None:
        """Write a message and press Enter."""
        box = self.page.get_by_role("textbox", name="Message")
        await box.fill(text)
        await box.press("Enter")
        await expect(box).to_have_value("")

    async def hear(self, sender: str, text: str) -> None:
        message = self.messages.get_by_role("article").filter(has_text=sender)
        await expect(message.get_by_text(text, exact=True)).to_be_visible()

    async def shows(self, *texts: str) -> None:
        """Expect exactly these messages, in this order. An edited one begins with the word."""
        patterns = [re.compile(r"#\d+\s+" + r"\s+".join(map(re.escape, text.split())) + "$") for text in texts]
        await expect(self.messages.get_by_role("article")).to_have_text(patterns, use_inner_text=True)

    async def change(self, text: str, button: str) -> None:
        """Press a button of one of the user's own messages."""
        message = self.messages.get_by_role("article").filter(has_text=text)
        await message.hover()
        await message.get_by_role("button", name=button).click()

    async def see_frame(self, *parts: str) -> None:
        """Expect a row of the frames with all these parts."""
        row = self.frames.locator("summary")
        for part in parts:
            row = row.filter(has_text=part)
        await expect(row.first).to_be_visible()


OpenTab = Callable[..., Awaitable[Tab]]


def find_browser() -> str:
    """Find a browser, or skip the test. Fail it where everything must be tested."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    return lacking(
        f"no browser: install the package `{BROWSERS[0]}`, so that one of {', '.join(BROWSERS)} is on the PATH"
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all these tests. Each has its own windows."""
    path = find_browser()
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, timeout=START_MS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def app(gateway: Gateway) -> AsyncIterator[App]:
    """An app that uses the shared gateway, in the browser's event loop."""
    async with App(gateway) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(browser: Browser, gateway: Gateway) -> AsyncIterator[OpenTab]:
    """Open tabs of one window with the page of the shared gateway, or of another one."""
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(await browser.new_context())
        context.set_default_timeout(WAIT_MS)

        async def open_tab(at: Gateway = gateway) -> Tab:
            tab = Tab(await context.new_page(), at)
            await tab.open()
            return tab

        yield open_tab
