"""The hooks for React, and the examples for Vue and Svelte, in a real browser."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from playwright.async_api import Browser, Page, WebSocket, expect

from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers import BUILT_IN, MsgHandler, Registry
from schemas.base import Wire
from tests.browser.conftest import WAIT_MS
from tests.support.client import WAIT_SECONDS, App
from tests.support.node import TOOLS, environment, node
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent / "pages"
FRAMEWORKS = ("react", "vue", "svelte")
HTML = '<!doctype html><div id="root"></div><script type="module" src="{}.js"></script>'


class Wait(Wire):
    """Nothing."""


class WaitHandler(MsgHandler[Wait, Wait]):
    """Answers when it is cancelled."""

    schema = Wait
    ordered = False

    async def handle(self, data: Wait) -> Wait:
        await asyncio.Event().wait()
        return data


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages with their scripts."""
    folder = tmp_path_factory.mktemp("pages")
    scripts = sorted(PAGES.glob("*.js*"))
    sources = (ROOT / "clients/javascript", ROOT / "examples")
    command: list[str | Path] = [node(), TOOLS / "bundle_pages.mjs", *sources, folder, *scripts]
    subprocess.run(command, env=environment(), timeout=WAIT_SECONDS, check=True)
    for script in scripts:
        (folder / f"{script.stem}.html").write_text(HTML.format(script.stem))
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, pages: Path) -> Iterator[Gateway]:
    """The gateway of these tests, which serves the pages, and has a message that it never answers."""

    def serve_pages(app: FastAPI) -> None:
        app.mount("/pages", StaticFiles(directory=pages))

    settings = settings_for_tests(tmp_path_factory.mktemp("gateway"))
    registry = BUILT_IN | Registry(handlers={"wait": WaitHandler})
    with running_gateway(settings, registry=registry, extend=serve_pages) as running:
        yield running


class FrameworkPage:
    """A page of a framework, at the gateway's origin."""

    def __init__(self, page: Page, user: str) -> None:
        self.page = page
        self.user = user
        self.sockets: list[WebSocket] = []
        self.sent: list[str] = []
        self.problems: list[str] = []
        self.status = page.get_by_role("status").first
        self.lines = page.get_by_role("listitem")
        page.on("websocket", self._note_socket)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type in {"error", "warning"} else None)

    def _note_socket(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))

    async def show(self, room: str) -> None:
        await self.page.evaluate("room => show(room)", room)

    async def clear(self) -> None:
        await self.page.evaluate("clear()")

    async def say(self, text: str) -> None:
        box = self.page.get_by_label("Message").first
        await box.fill(text)
        await box.press("Enter")

    async def room_state(self, room: str) -> str:
        state: str = await self.page.evaluate("room => roomState(room)", room)
        return state

    def types_sent(self) -> list[str]:
        return [json.loads(frame)["type"] for frame in self.sent]


OpenPage = Callable[[str, str], Awaitable[FrameworkPage]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, gateway: Gateway, app: App) -> AsyncIterator[OpenPage]:
    """Open a framework's page as a user, with a gateway that has not connected yet."""
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(await browser.new_context())
        context.set_default_timeout(WAIT_MS)
        opened: list[FrameworkPage] = []

        async def open_page(framework: str, user: str) -> FrameworkPage:
            tab = FrameworkPage(await context.new_page(), user)
            opened.append(tab)
            await tab.page.goto(f"{gateway.url}/pages/{framework}.html")
            await tab.page.evaluate("token => start({ token })", await app.token(user))
            return tab

        yield open_page
        for tab in opened:
            assert tab.problems == []


async def test_two_chats_in_strict_mode_use_one_socket(
    open_page: OpenPage, gateway: Gateway, app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(bob, room) as other:
        other.ignored |= {"room.joined", "chat.deleted"}
        for number in range(1, 61):
            await other.say(room, f"line {number}")
        tab = await open_page("react", alice)
        before = gateway.state.connections.count
        await tab.show(room)
        await expect(tab.status).to_have_text(f"open {alice}")
        await expect(tab.page.locator("#room").first).to_have_text("joined")
        await expect(tab.lines).to_have_count(100)  # the newest 50, in both chats
        assert gateway.state.connections.count == before + 1
        assert len(tab.sockets) == 1
        assert [type for type in tab.types_sent() if type.startswith("room.")] == ["room.resume"]

        await tab.page.get_by_role("button", name="older").first.click()
        await expect(tab.lines).to_have_count(120)
        await expect(tab.lines.first).to_have_text(f"{bob}: line 1")
        await expect(tab.page.get_by_role("button", name="older")).to_have_count(0)

        await other.send({"type": "chat.typing", "data": {"room": room}})
        await expect(tab.page.locator("#typing").first).to_have_text(bob)
        said = await other.say(room, "Hello, Alice!")
        await expect(tab.lines.last).to_have_text(f"{bob}: Hello, Alice!")
        await expect(tab.page.locator("#typing").first).to_have_text("")
        await other.ask("chat.delete", room=room, message_id=said["id"])
        await expect(tab.lines.last).to_have_text(f"{bob}: deleted")
        await tab.say("Hello, Bob!")
        assert (await other.until(type="chat.message"))["data"]["text"] == "Hello, Bob!"
        await expect(tab.lines.last).to_have_text(f"{alice}: Hello, Bob!")
        await expect(tab.lines).to_have_count(124)
        await expect(tab.page.locator(".sending")).to_have_count(0)
        assert tab.types_sent().count("chat.send") == 1
        await tab.clear()
        assert await tab.room_state(room) == "idle"


async def test_a_page_takes_over_from_a_server_while_the_connection_is_open(
    open_page: OpenPage, app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(bob, room) as other:
        await other.say(room, "Hello!")
    tab = await open_page("react", alice)
    await tab.page.evaluate("window.open()")
    rendered = await tab.page.evaluate("room => hydrate(room)", room)
    assert rendered.split() == ["idle", "idle"]
    await expect(tab.status).to_have_text(f"open {alice}")
    await expect(tab.lines).to_have_text([f"{bob}: Hello!"])
    assert len(tab.sockets) == 1


async def test_an_event_reaches_the_handler_of_the_newest_render(
    open_page: OpenPage, gateway: Gateway, app: App, alice: str, room: str
) -> None:
    tab = await open_page("react", alice)
    await tab.show(room)
    await expect(tab.status).to_have_text(f"open {alice}")
    admin = await gateway.token(f"admin-{alice}", "admin")
    for text in ("one", "two", "three"):
        await app.ask("POST", "/call/announce", admin, json={"text": text})
    await expect(tab.page.get_by_role("note").first).to_have_text("one two three")


async def test_a_refused_room_and_a_refused_message_say_so(
    open_page: OpenPage, app: App, alice: str, bob: str, room: str
) -> None:
    async with app.connect(bob) as other:
        await other.ask("room.create", room=room, private=True)
    tab = await open_page("react", alice)
    await tab.show(room)
    await expect(tab.page.locator("#room").first).to_have_text("refused not_found")
    await tab.say("Hello?")
    sending = tab.page.locator(".sending").first
    await expect(sending).to_contain_text("Hello? not_found")
    async with app.connect(bob) as other:
        await other.ask("room.update", room=room, private=False)
    await sending.get_by_role("button", name="again").click()
    await expect(sending).to_contain_text("Hello? not_a_member")
    await sending.get_by_role("button", name="discard").click()
    await expect(tab.page.locator(".sending")).to_have_count(0)


async def test_a_message_that_was_lost_is_sent_again_after_the_gateway_is_opened_again(
    open_page: OpenPage, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_page("react", alice)
    await tab.show(room)
    await expect(tab.page.locator("#room").first).to_have_text("joined")
    async with app.in_room(bob, room) as other:
        await tab.page.evaluate("stop()")
        await expect(tab.status).to_have_text(f"closed {alice}")
        await tab.say("Too late")
        await expect(tab.page.locator(".sending")).to_have_text(["Too late Lostagaindiscard"] * 2)
        await other.say(room, "Are you there?")

        await tab.page.evaluate("window.open()")
        await expect(tab.status).to_have_text(f"open {alice}")
        await expect(tab.lines.first).to_have_text(f"{bob}: Are you there?")
        await tab.page.get_by_role("button", name="again").first.click()
        await expect(tab.page.locator(".sending")).to_have_count(0)
        await expect(tab.lines).to_have_text([f"{bob}: Are you there?", f"{alice}: Too late"] * 2)
        assert (await other.expect("chat.message"))["text"] == "Too late"
        await other.expect_nothing()
    assert len(tab.sockets) == 2


async def test_a_call_is_shown_and_ends_with_its_component(open_page: OpenPage, alice: str, room: str) -> None:
    tab = await open_page("react", alice)
    asked = tab.page.locator("#asked")

    async def ask(type: str, **data: str) -> None:
        await tab.page.evaluate("([type, data]) => ask(type, data)", [type, data])

    await ask("echo", say="hello")
    await expect(asked).to_have_text('{"isPending":false,"data":{"say":"hello"},"error":null}')
    await ask("chat.history", room=room)
    await expect(asked).to_have_text('{"isPending":false,"error":"not_found"}')
    await ask("wait")
    await expect(asked).to_have_text('{"isPending":true,"error":null}')
    await until(lambda: "wait" in tab.types_sent())
    await tab.clear()
    await until(lambda: "cancel" in tab.types_sent())
    await ask("echo")
    await expect(asked).to_have_text('{"isPending":false,"data":{},"error":null}')
    assert len(tab.sockets) == 1


async def test_listeners_and_memory_are_flat_after_a_thousand_mounts(
    open_page: OpenPage, alice: str, room: str
) -> None:
    tab = await open_page("react", alice)
    devtools = await tab.page.context.new_cdp_session(tab.page)
    await devtools.send("Performance.enable")

    async def measure() -> dict[str, float]:
        await devtools.send("HeapProfiler.collectGarbage")
        metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
        return {each["name"]: each["value"] for each in metrics}

    await tab.show(room)
    await expect(tab.page.locator("#room").first).to_have_text("joined")
    held = await tab.page.evaluate("listeners()")
    await tab.clear()
    await tab.page.evaluate("room => flicker(room, 50)", room)
    before = await measure()
    await tab.page.evaluate("room => flicker(room, 1000)", room)
    after = await measure()
    assert await tab.page.evaluate("listeners()") == 0
    assert await tab.room_state(room) == "idle"
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 50
    assert after["Nodes"] <= before["Nodes"] + 50
    assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + 1_000_000
    await tab.show(room)
    await expect(tab.page.locator("#room").first).to_have_text("joined")
    assert await tab.page.evaluate("listeners()") == held
    assert len(tab.sockets) == 1


@pytest.mark.parametrize("framework", ["vue", "svelte"])
async def test_the_example_of_another_framework_talks(
    framework: str, open_page: OpenPage, gateway: Gateway, app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(bob, room) as other:
        other.ignored |= {"room.joined", "announcement"}
        await other.say(room, "Is Alice there?")
        tab = await open_page(framework, alice)
        await tab.show(room)
        await expect(tab.status).to_have_text(f"open {alice}")
        await expect(tab.lines).to_have_text([f"{bob} Is Alice there?"])
        await tab.say("Alice")
        assert (await other.until(type="chat.message"))["data"]["text"] == "Alice"
        await expect(tab.lines).to_have_text([f"{bob} Is Alice there?", f"{alice} Alice"])
        await expect(tab.page.locator(".sending")).to_have_count(0)
        await app.ask(
            "POST", "/call/announce", await gateway.token(f"admin-{alice}", "admin"), json={"text": "Back at 9"}
        )
        await expect(tab.page.get_by_role("note")).to_have_text("Back at 9")

        second = f"{room}-b"
        await other.ask("room.join", room=second)
        await tab.show(second)
        await expect(tab.lines).to_have_count(0)
        await other.say(second, "In here")
        await expect(tab.lines).to_have_text([f"{bob} In here"])
        assert [await tab.room_state(name) for name in (room, second)] == ["idle", "joined"]
        assert len(tab.sockets) == 1
        await tab.clear()
        assert await tab.room_state(second) == "idle"
