"""The page at `/`, as its user sees it."""

import asyncio
import re

import pytest
from playwright.async_api import Route, expect
from pydantic import Field

from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Wire
from schemas.names import RoomName
from tests.browser.conftest import OpenTab
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App

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
    await ann.see_frame("→", "room.resume", room)
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

    await ann.page.bring_to_front()  # a browser hardly draws a background tab
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


async def test_a_form_takes_no_click_before_the_page_can_answer_it(open_tab: OpenTab, alice: str) -> None:
    tab = await open_tab()
    come = asyncio.Event()

    async def hold(route: Route) -> None:
        await come.wait()
        await route.continue_()

    await tab.page.route("**/console.js", hold)
    await tab.page.reload(wait_until="commit")
    await expect(tab.page.get_by_role("button", name="Register")).to_be_disabled()
    await expect(tab.page.get_by_label("User name")).to_be_disabled()
    come.set()
    await tab.register(alice)


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
    assert ann.wire.urls == [ann.url.replace("http", "ws") + "ws/chat?rooms=1"]
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
    await frame.fill('{"type": "echo", "id": "1", "id": "1"}')
    await frame.press("Enter")
    await expect(tab.page.get_by_role("alert").filter(has_text="twice")).to_be_visible()
    await frame.fill('{"id": "1"}')
    await frame.press("Enter")
    await expect(tab.page.get_by_role("alert").filter(has_text="type:")).to_be_visible()
    await tab.page.get_by_label("Example").select_option("echo")
    await expect(frame).to_have_value(re.compile('"id":"1"'))  # none of them is a call that runs


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
    await tab.page.get_by_role("button", name="Disconnect").click()
    await tab.page.get_by_label("Room").fill("elsewhere")
    await tab.page.get_by_role("button", name="Join").click()
    await expect(tab.page.get_by_role("alert").filter(has_text="Not connected.")).to_be_visible()


async def test_a_wait_for_the_gateway_is_counted_down_and_a_user_may_end_it(open_tab: OpenTab, alice: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    tab.wire.tell("bye", code=1012, reason="draining", reconnect="after_delay", after_ms=60_000)
    for left in (60, 58):
        await expect(tab.status).to_have_text(f"Draining. Connecting again in {left} s.")
    await tab.page.get_by_role("button", name="Connect").click()
    await expect(tab.status).to_have_text(f"Connected as {alice}")
    assert tab.problems == []


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


async def test_a_talk_goes_on_beyond_the_end_of_its_token_without_the_password(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(token_minutes=1.02)  # so the gateway says after a second that it ends, a minute before
    tab = await open_tab(gateway)
    await tab.page.clock.install()
    first = await tab.register(alice)
    await tab.join(room)
    await tab.see_frame("←", "token.expiring")
    async with tab.page.expect_response("**/token") as answer:
        await tab.page.clock.fast_forward(10_000)
    grant = await (await answer.value).json()
    await tab.see_frame("→", "auth.refresh")
    await tab.see_frame("←", "reply", "token_expires_at")
    await tab.say("Still here.")
    await tab.hear(alice, "Still here.")
    await expect(tab.status).to_have_text(f"Connected as {alice}")
    assert len(tab.wire.urls) == 1  # the connection was kept
    for frame in await tab.frames.locator("summary").all():
        await frame.click()
    shown = await tab.page.content() + str(await tab.page.evaluate("JSON.stringify(sessionStorage)"))
    assert first not in shown
    assert grant["refresh_token"] not in shown
    assert (await tab.page.context.storage_state()) == {"cookies": [], "origins": []}
    assert tab.problems == []


async def test_a_reload_forgets_how_to_renew_the_token_so_its_end_is_told(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str
) -> None:
    tab = await open_tab(own_gateway(token_minutes=1.02))
    await tab.register(alice)
    await tab.page.reload()
    await expect(tab.status).to_have_text(re.compile(r"Your token ends at .+; then you log in again\."))


async def test_a_tab_that_wakes_up_after_its_token_has_ended_comes_back_into_the_room_by_itself(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(token_minutes=5)
    ann, ben = await open_tab(gateway), await open_tab(gateway)
    for tab, name in ((ann, alice), (ben, f"{alice}-2")):
        await tab.register(name)
        await tab.join(room)
    gateway.clock.ahead += 3600
    for tab in (ann, ben):
        await tab.wire.cut()
    for tab, name in ((ann, alice), (ben, f"{alice}-2")):
        tab.wire.mend()
        await expect(tab.status).to_have_text(f"Connected as {name}", timeout=20_000)
    await ann.say("Good morning!")
    await ben.hear(alice, "Good morning!")
    assert len(ann.wire.urls) > 1


async def test_a_refresh_that_fails_for_a_while_is_tried_again(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(token_minutes=5)
    tab = await open_tab(gateway)
    await tab.register(alice)
    await tab.join(room)
    answers = iter(["abort", "503"])
    seen = []

    async def fail(route: Route) -> None:
        seen.append(route.request.post_data)
        match next(answers, None):
            case "abort":
                await route.abort()
            case None:
                await route.continue_()
            case status:
                await route.fulfill(status=int(status), json={"message": "later", "retry_after_ms": 10})

    await tab.page.route("**/token", fail)
    gateway.clock.ahead += 3600
    await tab.wire.cut()
    tab.wire.mend()
    await expect(tab.status).to_have_text(f"Connected as {alice}", timeout=30_000)
    await tab.in_room(room)
    assert len(seen) == 3
    assert len(set(seen)) == 1  # the same refresh token each time: none was spent


async def test_a_session_that_was_ended_elsewhere_asks_for_the_password(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway()
    tab = await open_tab(gateway)
    token = await tab.register(alice)
    await tab.join(room)
    async with App(gateway) as app:
        assert (await app.http.post("/token/revoke", data={"token": token})).status_code == 200
    await expect(tab.page.get_by_role("alert").filter(has_text="Token revoked. Log in again.")).to_be_visible()
    await expect(tab.page.get_by_label("User name")).to_have_value(alice)


async def test_logging_out_ends_the_session_with_all_its_tokens(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str
) -> None:
    gateway = own_gateway()
    tab = await open_tab(gateway)
    token = await tab.register(alice)
    async with App(gateway) as app, app.connect_with(token) as elsewhere:
        async with tab.page.expect_response("**/token/revoke") as answer:
            await tab.page.get_by_role("button", name="Log out").click()
        assert (await answer.value).status == 200
        await elsewhere.expect_revoked()
        assert (await app.ask("GET", "/users/me", token)).status_code == 401
    await expect(tab.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert tab.problems == []


async def test_a_tab_without_storage_forgets_its_session_at_a_reload_and_no_earlier(
    open_tab: OpenTab, alice: str, room: str
) -> None:
    tab = await open_tab()
    await tab.page.add_init_script(
        "for (const verb of ['getItem', 'setItem']) Storage.prototype[verb] = () => { throw new Error('blocked'); }"
    )
    await tab.page.reload()
    await tab.register(alice)
    await tab.join(room)
    await tab.say("Unkept.")
    await tab.shows("Unkept.")
    await tab.wire.cut()
    tab.wire.mend()
    await tab.say("Still here.")
    await tab.shows("Unkept.", "Still here.")
    await tab.page.reload()
    await expect(tab.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert tab.problems == []


async def test_a_name_as_a_phone_types_it_is_ones_own(open_tab: OpenTab, alice: str, room: str) -> None:
    tab = await open_tab()
    await tab.enter("Register", f" {alice.capitalize()} ")
    await expect(tab.status).to_have_text(f"Connected as {alice}")
    await tab.join(room)
    await tab.say("Mine.")
    await tab.change("Mine.", "Edit")


@pytest.mark.parametrize("width", [375, 320])
async def test_on_a_phone_the_bars_take_a_line_each(open_tab: OpenTab, alice: str, width: int) -> None:
    tab = await open_tab()
    await tab.page.set_viewport_size({"width": width, "height": 700})
    heading = tab.page.get_by_role("heading", name="json-gateway")
    assert await heading.evaluate("title => title.scrollWidth <= title.clientWidth"), "the title is cut off"
    await tab.register(alice)
    for first, *others in (("json-gateway", "Disconnect", "Log out"), ("Frames", "Clear")):
        title = await tab.page.get_by_role("heading", name=first).bounding_box()
        assert title is not None
        assert title["height"] < 30  # of one line
        for other in others:
            box = await tab.page.get_by_role("button", name=other, exact=True).bounding_box()
            assert box is not None
            assert abs(box["y"] + box["height"] / 2 - title["y"] - title["height"] / 2) < 2
    assert await tab.page.evaluate("document.documentElement.scrollWidth") == width


async def test_the_members_are_a_list_that_follows_joins_and_departures(
    open_tab: OpenTab, app: App, alice: str, bob: str, room: str
) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    members = tab.page.get_by_role("list", name="1 member, 1 here")
    await expect(members.get_by_role("listitem")).to_have_text([re.compile(f"{alice}.*owner.*online")])
    async with app.in_room(bob, room) as ben:
        members = tab.page.get_by_role("list", name="2 members, 2 here")
        await expect(members.get_by_role("listitem")).to_have_text(
            [re.compile(f"{alice}.*online"), re.compile(f"{bob}.*online")]
        )
        tab.wire.tell("presence.changed", room=room, user=bob, state="away")
        members = tab.page.get_by_role("list", name="2 members, 1 here")
        await expect(members.get_by_role("listitem").nth(1)).to_have_text(re.compile(f"{bob}.*away"))
        await ben.ask("room.leave", room=room)
    members = tab.page.get_by_role("list", name="1 member, 1 here")
    await expect(members.get_by_role("listitem")).to_have_count(1)
    assert tab.problems == []


async def test_a_room_of_a_thousand_is_listed_and_stays_quick(open_tab: OpenTab, alice: str, room: str) -> None:
    tab = await open_tab()
    await tab.register(alice)
    await tab.join(room)
    await tab.page.evaluate(
        """async () => {
          const { Members } = await import("/members.js");
          const list = document.createElement("ul");
          document.getElementById("membersPanel").append(list);
          const members = new Members(list);
          const all = Array.from({ length: 1000 }, (_, index) => `user-${String(index).padStart(4, "0")}`);
          const began = performance.now();
          members.replace(all.map((user) => ({ user, state: "offline", role: "member" })), true);
          for (const user of all) members.tell(user, "online");
          for (const user of all.slice(500)) members.leave(user);
          for (const user of all.slice(990)) members.join(user);
          window.told = { here: members.here, count: members.count, rows: list.childElementCount,
                          last: list.lastElementChild.textContent, took: performance.now() - began };
        }"""
    )
    told = await tab.page.evaluate("window.told")
    assert (told["here"], told["count"], told["rows"]) == (510, 510, 510)
    assert told["last"].startswith("user-0999")
    assert told["took"] < 2000


class Roll(Wire):
    """Roll a die."""

    sides: int = Field(ge=2, le=100)
    room: RoomName


class RollHandler(MsgHandler[Roll, Roll]):
    """Rolls a die."""

    schema = Roll
    scope = "dice"

    async def handle(self, data: Roll) -> Roll:
        return data


async def test_every_type_of_the_gateway_can_be_tried_with_an_example_own_ones_too(
    open_tab: OpenTab, own_gateway: OwnGateway, alice: str, room: str
) -> None:
    tab = await open_tab(own_gateway(registry={**HANDLERS, "dice.roll": RollHandler}))
    await tab.register(alice)
    await tab.join(room)
    examples = tab.page.get_by_label("Example")
    await expect(examples.get_by_role("option")).to_have_text([*HANDLERS, "dice.roll"])
    frame = tab.page.get_by_label("Frame to send")
    await examples.select_option("dice.roll")
    await expect(frame).to_have_value(f'{{"type":"dice.roll","id":"1","data":{{"sides":2,"room":"{room}"}}}}')
    await expect(tab.page.get_by_text("Rolls a die. Needs dice.")).to_be_visible()
    await examples.select_option("presence.get")
    await frame.press("Enter")
    await tab.see_frame("←", "reply", "#1", alice, "online")
    assert tab.problems == []
