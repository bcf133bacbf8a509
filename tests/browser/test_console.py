"""The page at `/`, as its reader lives it."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.client import PASSWORD, App
from tests.conftest import OwnGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop


async def test_two_people_in_two_tabs_talk_and_see_every_frame(
    open_tab: OpenTab, alice: str, bob: str, room: str
) -> None:
    ann, ben = await open_tab(), await open_tab()
    await ann.register(alice)
    await ben.register(bob)
    await ann.join(room)
    await ben.join(room)
    await expect(ann.messages.get_by_text(f"{bob} joined")).to_be_visible()
    await expect(ann.page.get_by_text("2 members")).to_be_visible()

    await ann.say("Hello, Bob!")
    await ben.hear(alice, "Hello, Bob!")
    await ben.say("Hello, Alice!")
    await ann.hear(bob, "Hello, Alice!")
    await expect(ann.messages.get_by_role("article")).to_contain_text(["Hello, Bob!", "Hello, Alice!"])

    await ann.see_frame("←", "welcome", alice)
    await ann.see_frame("→", "room.join", room)
    await ann.see_frame("→", "chat.send", "Hello, Bob!")
    await ann.see_frame("←", "reply", "Hello, Bob!")
    await ann.see_frame("←", "chat.message", "Hello, Alice!")
    await ben.see_frame("←", "chat.message", "Hello, Bob!")


async def test_what_one_edits_and_deletes_changes_for_the_other(
    open_tab: OpenTab, alice: str, bob: str, room: str
) -> None:
    ann, ben = await open_tab(), await open_tab()
    await ann.register(alice)
    await ben.register(bob)
    await ann.join(room)
    await ben.join(room)
    await ann.say("Helo!")
    await ann.say("Never mind.")
    await ben.shows("Helo!", "Never mind.")
    await expect(ben.messages.get_by_role("button", name="Edit")).to_have_count(0)

    await ann.page.bring_to_front()  # a browser hardly draws a tab that is behind another
    await ann.change("Helo!", "Edit")
    box = ann.messages.get_by_role("textbox", name="New text")
    await expect(box).to_be_focused()
    await box.fill("Something else")
    await box.press("Escape")
    await ann.shows("Helo!", "Never mind.")
    await expect(ann.messages.get_by_role("button", name="Edit").first).to_be_focused()
    await ann.page.keyboard.press("Enter")
    await box.fill("Hello!")
    await box.press("Enter")
    await ann.shows("edited Hello!", "Never mind.")
    await ben.shows("edited Hello!", "Never mind.")

    await ann.change("Never mind.", "Delete")
    await ann.change("Never mind.", "Really delete?")
    await ann.shows("edited Hello!", "deleted")
    await ben.shows("edited Hello!", "deleted")
    assert ann.problems == []


async def test_one_sees_that_the_other_is_typing(open_tab: OpenTab, app: App, alice: str, bob: str, room: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    typing = tab.page.get_by_text(f"{bob} is typing…")
    async with app.in_room(bob, room) as ben:
        await tab.page.get_by_role("textbox", name="Message").press_sequentially("Oh")
        await ben.expect("chat.typing", user=alice, typing=True)
        await ben.ask("chat.typing", room=room)
        await expect(typing).to_be_visible()
        await ben.say(room, "Well.")
        await tab.hear(bob, "Well.")
        await expect(typing).to_be_hidden()


async def test_a_wrong_password_is_told_in_words(open_tab: OpenTab, app: App, alice: str) -> None:
    await app.register(alice)
    tab = await open_tab()
    await tab.enter("Log in", alice, "not this one")
    await expect(tab.page.get_by_role("alert").filter(has_text="password")).to_be_visible()
    await expect(tab.page.get_by_label("Password")).to_be_focused()
    await tab.enter("Log in", alice)
    await expect(tab.status).to_have_text(f"Connected as {alice}")


async def test_what_is_wrong_with_a_registration_is_told_beside_the_field(
    open_tab: OpenTab, app: App, alice: str
) -> None:
    await app.register(alice)
    tab = await open_tab()
    await tab.enter("Register", "Al!", "short")
    for label, problem in (("User name", "Expected 3 to 32"), ("Password", "Expected 8 to 1024 bytes of UTF-8, got 5")):
        await expect(tab.page.get_by_label(label)).to_have_accessible_description(re.compile(problem))
    await tab.enter("Register", alice)
    await expect(tab.page.get_by_role("alert").filter(has_text="taken")).to_be_visible()


async def test_the_token_is_shown_nowhere_and_the_policy_is_kept(open_tab: OpenTab, alice: str, room: str) -> None:
    ann = await open_tab()
    token = await ann.register(alice)
    await ann.join(room)
    await ann.page.get_by_label("Frame to send").fill(f'{{"type": "echo", "id": 1, "data": "{token}"}}')
    await ann.page.get_by_label("Frame to send").press("Enter")
    await ann.page.get_by_label("Frame to send").fill("")
    await ann.see_frame("←", "reply", "#1")
    for frame in await ann.frames.locator("summary").all():
        await frame.click()
    await ann.say("Hello!")
    await ann.shows("Hello!")

    assert token not in await ann.page.content()
    assert ann.page.url == ann.url
    assert ann.wire.urls == [ann.url.replace("http", "ws") + "ws/chat"]
    assert (await ann.page.context.storage_state()) == {"cookies": [], "origins": []}
    assert ann.problems == []


async def test_markup_in_a_message_is_shown_as_text(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    markup = "<img src=x onerror=\"document.title='broken into'\">"
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        await ben.say(room, markup)
    await tab.hear(bob, markup)
    await expect(tab.page.locator("img")).to_have_count(0)
    await expect(tab.page).to_have_title(f"{alice} · json-gateway")
    assert tab.problems == []


async def test_a_frame_typed_by_hand_is_sent_as_it_is_and_its_error_told(open_tab: OpenTab, alice: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    frame = tab.page.get_by_label("Frame to send")
    await expect(frame).to_have_value('{"type":"ping","id":"1"}')
    await frame.press("Enter")
    await tab.see_frame("←", "reply", "#1", "server_time")
    await frame.fill("not JSON")
    await frame.press("Enter")
    await tab.see_frame("→", "not JSON")
    await tab.see_frame("←", "error", "40000")
    await expect(tab.page.get_by_role("alert").filter(has_text="Expected a JSON object")).to_be_visible()


async def test_whoever_disconnects_stays_disconnected_until_connecting_again(
    open_tab: OpenTab, alice: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    await tab.page.get_by_role("button", name="Disconnect").click()
    await expect(tab.status).to_have_text("Disconnected.")
    await tab.page.get_by_role("button", name="Connect").click()
    await expect(tab.status).to_have_text(f"Connected as {alice}")
    await tab.say("Here again.")
    await tab.hear(alice, "Here again.")


async def test_an_expired_token_asks_to_log_in_again_and_goes_on_in_the_room(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(token_minutes=1)
    tab = await open_tab(gateway)
    await tab.register(alice)
    await tab.join(room)
    gateway.clock.ahead += 3600
    await tab.page.reload()
    await expect(tab.page.get_by_role("alert").filter(has_text="Log in again.")).to_have_text(
        "Token expired. Log in again."
    )
    await expect(tab.page.get_by_label("User name")).to_have_value(alice)
    await tab.page.get_by_label("Password").fill(PASSWORD)
    await tab.page.get_by_label("Password").press("Enter")
    await tab.in_room(room)
    await tab.say("Back.")
    await tab.hear(alice, "Back.")
