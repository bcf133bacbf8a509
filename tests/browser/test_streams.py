"""The page at `/` while answers stream, messages grow, and signals come."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from handlers import BUILT_IN, Chunk, MsgHandler, Registry, Reply
from schemas.base import Wire
from tests.browser.conftest import OpenTab
from tests.conftest import OwnGateway
from tests.support.client import App

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop


class Count(Wire):
    """How far to count."""

    most: int


class Counted(Wire):
    """How far the gateway has counted."""

    most: int


class CountHandler(MsgHandler[Count, Counted]):
    """Counts, a number at a time, and then waits if it is to count beyond three."""

    schema = Count
    examples = ({"most": 3},)

    async def handle(self, data: Count) -> AsyncIterator[Chunk]:
        for number in range(1, min(data.most, 3) + 1):
            yield f"<b>{number}</b> "
        if data.most > 3:
            await asyncio.Event().wait()
        yield {"all": True}
        yield Reply(Counted(most=data.most))


async def test_chunks_are_shown_as_they_come_and_a_call_is_cancelled(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str
) -> None:
    tab = await open_tab(own_gateway(registry=BUILT_IN | Registry(handlers={"count": CountHandler})))
    await tab.register(alice)
    stream, frame = tab.page.get_by_label("Stream"), tab.page.get_by_label("Frame to send")
    await expect(stream).not_to_be_checked()
    await tab.page.get_by_label("Example").select_option("count")
    await expect(stream).to_be_checked()
    await expect(frame).to_have_value('{"type":"count","id":"1","stream":true,"data":{"most":3}}')
    await tab.page.get_by_role("button", name="Send frame").click()
    calls = tab.page.get_by_role("log", name="Calls").get_by_role("article")
    await expect(calls).to_contain_text(['#1reply {"most":3}<b>1</b> <b>2</b> <b>3</b> {"all":true}'])
    await expect(calls.get_by_role("button")).to_have_count(0)
    await tab.see_frame("←", "chunk", "#1", "<b>2</b>")

    await frame.fill('{"type":"count","id":2,"stream":true,"data":{"most":4}}')
    await frame.press("Enter")
    await expect(calls.first).to_contain_text("running, 3 chunks")
    problem = tab.page.locator("#rawProblem")
    await frame.press("Enter")  # the gateway refuses the second one, and the first goes on
    await expect(problem).to_contain_text("use another id")
    await expect(calls.first).to_contain_text("running, 3 chunks")
    await tab.page.get_by_label("Example").select_option("ping")
    await expect(frame).to_have_value('{"type":"ping","id":"1"}')
    await frame.fill('{"type":"count","id":"1","stream":true,"data":{"most":4}}')
    await frame.press("Enter")
    await tab.page.get_by_label("Example").select_option("echo")
    await expect(frame).to_have_value(re.compile('"id":"3"'))
    await expect(calls.first).to_contain_text("running, 3 chunks")
    await calls.first.get_by_role("button", name="Cancel").click()
    await expect(calls.first).to_contain_text("49900")
    await frame.fill('{"type":"count","id":2,"stream":true,"data":{"most":4}}')
    await calls.nth(1).get_by_role("button", name="Cancel").click()
    await expect(calls.nth(1)).to_contain_text("49900")
    await tab.see_frame("→", "cancel", '{"id":2}')
    await expect(problem).to_be_empty()

    await stream.uncheck()
    await expect(frame).to_have_value('{"type":"count","id":2,"data":{"most":4}}')
    await frame.press("Enter")  # a slow one has a card too
    slow = calls.filter(has_text="running").first
    await slow.get_by_role("button", name="Cancel").click()
    await expect(calls.first).to_contain_text("49900")
    await frame.fill("no JSON")
    await expect(stream).to_be_disabled()
    await frame.fill('{"type":"count","id":3,"stream":true,"data":{"most":4}}')
    await frame.press("Enter")
    await expect(calls.first).to_contain_text("running, 3 chunks")
    await tab.wire.cut()
    await expect(calls.first).to_contain_text("the connection was lost")
    await expect(calls).to_have_count(5)
    tab.wire.mend()
    assert tab.problems == []


async def test_a_message_grows_in_its_place_until_it_is_done(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        ben.ignored |= {"chat.appended"}
        message = await ben.say(room, "Grüß")
        await ben.say(room, "later")
        await tab.shows("Grüß", "later")
        place = {"room": room, "message_id": message["id"]}
        await ben.ask("chat.append", **place, text=" 👋", at=4)
        await tab.shows("Grüß 👋", "later")
        growing = tab.messages.locator(".growing")
        await expect(growing).to_have_count(1)
        tab.wire.loses_heard = ('"text":" lost"',)  # the piece, and not the whole message
        await ben.ask("chat.append", **place, text=" lost")
        await ben.ask("chat.append", **place, text=" and")
        # Here the page lacks a piece, so it fetches the message as it is stored.
        await tab.see_frame("→", "chat.history", room)
        tab.wire.mend()
        await ben.ask("chat.append", **place, text=" found", done=True)
        await tab.shows("Grüß 👋 lost and found", "later")
        await expect(growing).to_have_count(0)
    assert tab.problems == []


async def test_signals_and_states_are_shown_and_pass(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        row = tab.page.get_by_role("listitem").filter(has_text=bob)
        await expect(row).to_contain_text("online")
        await ben.ask("presence.set", room=room, state={"in": "<i>call</i>"})
        await expect(row).to_contain_text('{"in":"<i>call</i>"}')
        await tab.page.reload()
        await expect(row).to_contain_text('{"in":"<i>call</i>"}')
        await ben.ask("presence.set", room=room, state=None)
        await expect(row).not_to_contain_text("call")
        signal = tab.page.get_by_role("log", name="Signal")
        for x in (1, 2):
            await ben.ask("room.signal", room=room, name="cursor", data={"x": x})
        await expect(signal).to_have_text(f'{bob} signals cursor {{"x":2}}')
        await tab.page.get_by_role("button", name="Leave").click()
        await expect(signal).to_be_hidden()
    assert tab.problems == []
