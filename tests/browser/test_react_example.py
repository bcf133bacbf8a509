"""The example for React, built as its page says: two people talk in it."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from playwright.async_api import Browser, Page, expect

from examples.assistant.ask import Assistant, registry
from examples.assistant.completions import Completions
from gateway import publisher_of
from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers import BUILT_IN
from tests.browser.conftest import WAIT_MS, Wire
from tests.support.client import PASSWORD, WAIT_SECONDS, App
from tests.support.node import environment, npm

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop

EXAMPLE = Path(__file__).parents[2] / "examples/react"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built example."""
    assert (EXAMPLE / "node_modules").exists(), "run `make test`, or `make .venv/.installed-node`"
    folder = tmp_path_factory.mktemp("example")
    command = [*npm(), "run", "build", "--", "--outDir", str(folder), "--emptyOutDir"]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment(), capture_output=True, text=True, timeout=2 * WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Model:
    """In place of a language model: it begins an answer and does not end it."""

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        for word in ("Tea, ", "of course. "):
            yield word
        await asyncio.Event().wait()


@asynccontextmanager
async def assist(app: FastAPI) -> AsyncIterator[Assistant]:
    yield Assistant(cast(Completions, Model()), publisher_of(app).sender("assistant"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[Gateway]:
    """A gateway that serves the example, with the assistant of the other example."""

    def serve(app: FastAPI) -> None:
        app.mount("/chat", StaticFiles(directory=built, html=True))

    settings = settings_for_tests(tmp_path_factory.mktemp("gateway"))
    with running_gateway(settings, registry=BUILT_IN | registry, lifespan=assist, extend=serve) as running:
        yield running


class Person:
    """A person with the example in a window of their own."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.wire = Wire()
        self.problems: list[str] = []
        self.messages = page.get_by_role("log", name="Messages")
        self.bubbles = self.messages.get_by_role("article")
        self.status = page.get_by_role("status")
        self.members = page.get_by_label("Members")
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type in {"error", "warning"} else None)

    async def enter(self, button: str, password: str = PASSWORD) -> None:
        await self.page.get_by_label("Name").fill(self.name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name=button).click()

    async def join(self, room: str) -> None:
        await self.page.get_by_label("Room", exact=True).fill(room)
        await self.page.get_by_role("button", name="Join", exact=True).click()
        await expect(self.page.get_by_role("heading", name=room)).to_be_visible()

    async def say(self, text: str) -> None:
        box = self.page.get_by_label("Message", exact=True)
        await box.fill(text)
        await box.press("Enter")
        await expect(box).to_have_value("")

    async def hears(self, *texts: str) -> None:
        """Expect exactly these messages."""
        patterns = [re.compile(rf"{re.escape(text)}\s*\d\d:\d\d$") for text in texts]
        await expect(self.messages.locator(".bubble")).to_have_text(patterns, use_inner_text=True)


Meet = Callable[..., Awaitable[Person]]


@pytest_asyncio.fixture(loop_scope="session")
async def meet(browser: Browser, gateway: Gateway) -> AsyncIterator[Meet]:
    """Open the example in a window of its own."""
    async with AsyncExitStack() as stack:
        people: list[Person] = []

        async def meet(name: str, scheme: Literal["dark", "light"] = "light") -> Person:
            context = await stack.enter_async_context(
                await browser.new_context(color_scheme=scheme, locale="en-GB", viewport={"width": 1180, "height": 720})
            )
            context.set_default_timeout(WAIT_MS)
            person = Person(await context.new_page(), name)
            people.append(person)
            await person.page.route_web_socket("**/ws/chat*", person.wire.connect)
            await person.page.goto(f"{gateway.url}/chat/")
            return person

        yield meet
        assert [person.problems for person in people] == [[] for _ in people]


async def test_two_people_talk(meet: Meet, alice: str, bob: str, room: str) -> None:
    ann, ben = await meet(alice), await meet(bob, "dark")
    await ann.enter("Log in")
    await expect(ann.page.get_by_role("alert")).to_have_text("Wrong user name or password.")
    ann.problems.clear()  # the browser notes the answer 401
    await ann.enter("Register")
    await expect(ann.status).to_have_text("Connected")
    await ann.join(room)
    await ann.say("Is anybody here?")
    await ann.hears("Is anybody here?")

    await ben.enter("Register")
    await ben.page.get_by_role("button", name=room).click()
    await ben.hears("Is anybody here?")
    await expect(ann.members.get_by_role("heading")).to_have_text("2 members")
    await expect(ann.members.get_by_role("listitem").filter(has_text=bob)).to_contain_text("online")
    await ben.page.get_by_label("Message", exact=True).press_sequentially("I am")
    await expect(ann.page.get_by_text(f"{bob} is typing…")).to_be_visible()
    await ben.say("I am!")
    await ann.hears("Is anybody here?", "I am!")
    await expect(ann.page.get_by_text(f"{bob} is typing…")).to_have_count(0)
    assert [len(person.wire.urls) for person in (ann, ben)] == [1, 1]

    await ben.join(f"{room}-b")
    await ann.say("Where did you go?")
    await expect(ben.page.get_by_role("button", name=room).get_by_label("1 unread")).to_be_visible()
    await ben.page.get_by_role("button", name="Log out").click()
    await expect(ben.page.get_by_role("heading", name="Welcome")).to_be_visible()


async def test_a_message_that_was_written_without_a_connection_goes_out_once(
    meet: Meet, app: App, alice: str, bob: str, room: str
) -> None:
    ann = await meet(alice)
    await ann.enter("Register")
    await ann.join(room)
    async with app.in_room(bob, room) as other:
        other.ignored |= {"chat.typing", "chat.read"}
        await ann.wire.cut()
        await expect(ann.status).to_have_text("Connecting…")
        await ann.say("Written on a train")
        await expect(ann.bubbles.last).to_contain_text("sending…")
        await other.expect_nothing()
        ann.wire.mend()
        await expect(ann.status).to_have_text("Connected")
        await expect(ann.bubbles).to_have_count(1)
        await expect(ann.bubbles.last).not_to_contain_text("sending…")
        assert (await other.until(type="chat.message"))["data"]["text"] == "Written on a train"
        await other.expect_nothing()


async def test_what_is_missing_is_said(meet: Meet, app: App, alice: str, bob: str, room: str) -> None:
    async with app.connect(bob) as owner:
        await owner.ask("room.create", room=room)
        ann = await meet(alice)
        await ann.enter("Register")
        await ann.join(room)
        await ann.say("Before")
        await ann.hears("Before")
        await ann.wire.cut()
        await owner.ask("room.delete", room=room)
        await owner.ask("room.create", room=room)
        await owner.ask("room.join", room=room)
        await owner.say(room, "After")
        ann.wire.mend()
        await expect(ann.page.get_by_role("note")).to_contain_text("The room was made anew.")
        await expect(ann.bubbles).to_have_count(1)
        await expect(ann.bubbles).to_contain_text("After")
        await ann.page.get_by_role("note").get_by_role("button", name="OK").click()
        await expect(ann.page.get_by_role("note")).to_have_count(0)


async def test_an_answer_of_the_assistant_grows_until_it_is_stopped(meet: Meet, alice: str, room: str) -> None:
    ann = await meet(alice)
    await ann.enter("Register")
    await ann.join(room)
    await ann.say("/ask Tea or coffee?")
    await ann.hears("Tea or coffee?", "Tea, of course. ")
    await expect(ann.page.get_by_text("The assistant is writing… 16 characters")).to_be_visible()
    await ann.page.get_by_role("button", name="Stop").click()
    await expect(ann.page.get_by_text("The assistant is writing…")).to_have_count(0)
    await expect(ann.page.get_by_role("alert").filter(has_text=re.compile("."))).to_have_count(0)


async def test_a_session_that_ends_leads_back_to_the_log_in(meet: Meet, app: App, gateway: Gateway, alice: str) -> None:
    ann = await meet(alice)
    await ann.enter("Register")
    await expect(ann.status).to_have_text("Connected")
    other = await app.token(alice)
    assert (await app.ask("DELETE", "/users/me/sessions", other)).status_code == 204
    await expect(ann.status).to_have_text("Disconnected")
    ann.problems.clear()  # the browser notes the answer 401
    await ann.page.get_by_role("button", name="Log in").click()
    await expect(ann.page.get_by_role("heading", name="Welcome")).to_be_visible()
