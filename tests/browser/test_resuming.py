"""The page at `/` when connections break and rooms end: it shows every message, and each only once."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.support.client import App

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all, and it belongs to one loop


async def test_the_page_comes_back_after_a_close_without_a_reason(open_tab: OpenTab, alice: str, room: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    await tab.say("before")
    await tab.shows("before")
    await tab.wire.close(code=4508, reason="slow_consumer")
    await expect(tab.status).to_contain_text("Slow consumer. Connecting again in")
    await expect(tab.status).to_have_text(f"Connected as {alice}")
    await tab.say("after")
    await tab.shows("before", "after")


async def test_what_was_said_edited_and_deleted_meanwhile_is_there_once_and_in_order(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        ben.ignored |= {"chat.edited", "chat.deleted"}
        one, two, _ = [await ben.say(room, text) for text in ("one", "two", "three")]
        await tab.shows("one", "two", "three")
        await tab.wire.cut()
        four = await ben.say(room, "four")
        await ben.ask("chat.edit", room=room, message_id=one["id"], text="1")
        await ben.ask("chat.delete", room=room, message_id=two["id"])
        await ben.say(room, "five")
        await ben.ask("chat.edit", room=room, message_id=four["id"], text="4")
        tab.wire.mend()
        await tab.shows("edited 1", "deleted", "three", "edited 4", "five")
        await tab.see_frame("→", "room.resume", room)
        await tab.see_frame("←", "reply", '"recovered":true')
        await ben.ask("chat.edit", room=room, message_id=four["id"], text="IV")
        await ben.say(room, "six")
        await tab.shows("edited 1", "deleted", "three", "edited IV", "five", "six")
    await tab.page.reload()
    await tab.shows("edited 1", "deleted", "three", "edited IV", "five", "six")
    assert tab.problems == []


async def test_what_was_not_acknowledged_is_sent_again_and_is_there_once(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        ben.ignored |= {"chat.typing"}
        tab.wire.loses_heard = ("stored, but",)
        await tab.say("stored, but not acknowledged")
        await ben.expect("chat.message", text="stored, but not acknowledged")
        await tab.say("waiting behind it")
        await tab.wire.cut()
        await tab.say("said without a connection")
        await expect(tab.messages.get_by_text("not sent yet")).to_have_count(3)
        tab.wire.mend()
        await ben.expect("chat.message", text="waiting behind it")
        await ben.expect("chat.message", text="said without a connection")
        everything = ("stored, but not acknowledged", "waiting behind it", "said without a connection")
        await tab.shows(*everything)

        tab.wire.loses_sent = ("not even",)
        await tab.say("not even sent")
        await expect(tab.messages.get_by_text("not sent yet")).to_be_visible()
        await tab.wire.cut()
        tab.wire.mend()
        await ben.expect("chat.message", text="not even sent")
        await tab.shows(*everything, "not even sent")
        await ben.expect_nothing()


async def test_what_was_not_acknowledged_outlives_a_reload(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        ben.ignored |= {"chat.typing"}
        tab.wire.loses_heard = ("once",)
        await tab.say("once")
        await ben.expect("chat.message", text="once")
        tab.wire.mend()
        await tab.page.reload()
        await tab.shows("once")
        await tab.say("twice")
        await ben.expect("chat.message", text="twice")
        await tab.shows("once", "twice")
        await tab.wire.cut()
        await tab.say("thrice")
        await tab.page.reload()
        await expect(tab.messages.get_by_text("not sent yet")).to_be_visible()
        tab.wire.mend()
        await ben.expect("chat.message", text="thrice")
        await ben.expect_nothing()
    await tab.shows("once", "twice", "thrice")


async def test_a_message_that_is_refused_is_given_back(open_tab: OpenTab, alice: str, room: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    await tab.page.get_by_role("textbox", name="Message").fill("x" * 4001)
    await tab.page.get_by_role("button", name="Send", exact=True).click()
    await expect(tab.page.get_by_role("alert").filter(has_text="text:")).to_be_visible()
    await expect(tab.page.get_by_role("textbox", name="Message")).to_have_value("x" * 4001)
    await tab.shows()


async def test_a_gap_that_the_gateway_tells_of_is_closed(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        first = await ben.say(room, "heard")
        await tab.shows("heard")
        tab.wire.loses_heard = ("missed", "chat.deleted")
        await ben.say(room, "missed")
        await ben.ask("chat.delete", room=room, message_id=first["id"])
        await ben.expect("chat.deleted")
        await tab.shows("heard")
        tab.wire.mend()
        tab.wire.tell("resync", room=room, epoch=first["epoch"], offset=3)
        await tab.shows("deleted", "missed")
        await ben.say(room, "heard again")
        await tab.shows("deleted", "missed", "heard again")


async def test_a_room_that_was_made_anew_shows_its_newest_messages_and_says_why(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    async with app.connect(bob) as ben:
        await ben.ask("room.create", room=room)
        await ben.ask("room.join", room=room)
        await tab.join(room)
        await ben.expect("room.joined")
        await ben.say(room, "of the old room")
        await tab.shows("of the old room")
        await tab.wire.cut()
        await ben.ask("room.delete", room=room)
        await ben.expect("room.deleted")
        await ben.ask("room.create", room=room)
        await ben.ask("room.join", room=room)
        await ben.say(room, "of the new room")
        tab.wire.mend()
        await tab.shows("of the new room")
        await expect(tab.messages.get_by_text("The room has a new log.")).to_be_visible()


async def test_a_room_that_cannot_be_resumed_is_left_with_the_reason(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    async with app.connect(bob) as ben:
        ben.ignored |= {"room.joined"}
        await ben.ask("room.create", room=room)
        await ben.ask("room.join", room=room)
        await tab.join(room)
        await ben.ask("room.update", room=room, private=True)
        await ben.expect("room.updated")
        await tab.wire.cut()
        await ben.ask("room.kick", room=room, user=alice)
        tab.wire.mend()
        await expect(tab.page.get_by_role("alert").filter(has_text=f"{room}: There is no room")).to_be_visible()
        await expect(tab.page.get_by_role("textbox", name="Message")).to_be_disabled()


async def test_a_page_that_comes_back_suggests_its_rooms_with_what_is_unread(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    async with app.in_room(bob, room) as ben:
        await ben.say(room, "unread")
        await tab.page.reload()
        await tab.see_frame("←", "welcome", '"rooms":[{"name":')
        await expect(tab.page.locator(f"datalist option[value='{room}']")).to_have_text(f"{room} · 1 unread")


async def test_whoever_is_removed_is_told_so_and_does_not_come_back(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    alert = tab.page.get_by_role("alert")
    async with app.connect(bob) as ben:
        ben.ignored |= {"room.joined", "room.left"}
        await ben.ask("room.create", room=room)
        await ben.ask("room.join", room=room)
        await tab.join(room)
        await ben.ask("room.kick", room=room, user=alice)
        await expect(alert.filter(has_text=f"{bob} has removed you from {room}.")).to_be_visible()
        await tab.wire.cut()
        tab.wire.mend()
        await expect(tab.status).to_have_text(f"Connected as {alice}")
        assert [m["user"] for m in (await ben.ask("room.members", room=room))["members"]] == [bob]

        await tab.join(room)
        await ben.ask("room.delete", room=room)
        await expect(alert.filter(has_text=f"{room} has been deleted.")).to_be_visible()
        await expect(tab.page.get_by_role("textbox", name="Message")).to_be_disabled()


async def test_presence_is_a_number_and_typing_ends_even_without_an_event(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.page.clock.install()
    await tab.register(alice)
    async with app.in_room(bob, room):
        await tab.join(room)
        await expect(tab.page.get_by_text("2 members, 2 here")).to_be_visible()
        tab.wire.tell("presence.changed", room=room, user=bob, state="offline")
        await expect(tab.page.get_by_text("2 members, 1 here")).to_be_visible()
        await expect(tab.messages.get_by_text(bob)).to_have_count(0)

        tab.wire.tell("chat.typing", room=room, user=bob, typing=True)
        typing = tab.page.get_by_text(f"{bob} is typing…")
        await expect(typing).to_be_visible()
        await tab.page.clock.fast_forward(8000)
        await expect(typing).to_be_hidden()
