"""Messages go out to hooks: each once it is stored, in the order of its room, until the receiver has it."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway.store.outgoing_events import Figures
from gateway.store.tables import outgoing_events
from gateway.testing import Gateway, running_gateway, settings_for_tests
from gateway.webhooks import webhooks
from tests.conftest import OwnGateway
from tests.gateway.webhooks.conftest import figures_of, is_empty
from tests.support.client import App, ChatClient
from tests.support.metrics import metrics_of
from tests.support.receivers import Received, Receiver, new_secret, running_receiver, use_hooks
from tests.support.waiting import until

pytestmark = [pytest.mark.both_stores, pytest.mark.usefixtures("looks_often")]


def texts(events: list[Received]) -> list[str]:
    """Return what messages say, each once, in the order in which they came first."""
    return list(dict.fromkeys(each.data["message"].get("text") for each in events))


async def say(client: ChatClient, room: str, *said: str) -> None:
    for text in said:
        await client.ask("chat.send", room=room, text=text)
        await client.expect("chat.message")


async def next_attempt(gateway: Gateway, receiver: Receiver, seconds: float) -> None:
    """Let time pass until there is another attempt, once the failure of the last one is stored."""
    before = len(receiver.got)
    await until(lambda: has_failed(gateway, before))
    gateway.clock.ahead += seconds
    await until(lambda: len(receiver.got) > before)


async def has_failed(gateway: Gateway, attempts: int) -> bool:
    """Return whether so many failed attempts are stored."""
    query = select(func.sum(outgoing_events.c.attempts))
    failed = await gateway.run(gateway.state.database.query(lambda at: at.execute(query).scalar_one()))
    return (failed or 0) >= attempts


async def test_a_hook_gets_each_new_message_as_the_room_does(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        said = await alice.say("lobby", "Grüße", client_id="a1")
        [event] = await receiver.expect(1)
        shown = {name: value for name, value in said.items() if name != "client_id"}
        assert (event.type, event.data) == ("message.stored", {"message": shown})
        assert event.verified
        assert event.headers["content-type"] == "application/json"
        await alice.ask("chat.edit", room="lobby", message_id=said["id"], text="Hallo")
        await alice.heard()
        await alice.ask("chat.send", room="lobby", text="Grüße", client_id="a1")  # a repeat
        await say(alice, "lobby", "again")
    assert texts(await receiver.expect(2)) == ["Grüße", "again"]
    await until(lambda: is_empty(gateway))


async def test_a_hook_of_cloudevents_gets_them_in_structured_mode(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored", format="cloudevents"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "hello")
    [event] = await receiver.expect(1)
    assert event.headers["content-type"] == "application/cloudevents+json"
    head = {name: value for name, value in event.content.items() if name not in {"data", "time"}}
    assert head == {
        "specversion": "1.0",
        "id": event.id,
        "source": "json-gateway",
        "type": "message.stored",
        "subject": "lobby",
        "datacontenttype": "application/json",
    }
    assert json.loads(event.body)["data"]["message"]["text"] == "hello"
    assert event.verified


async def test_a_hook_gets_the_messages_of_its_rooms_only(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored", rooms=["team-*"]))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.ask("room.join", room="team-red")
        await say(alice, "lobby", "not for the hook")
        await say(alice, "team-red", "for the hook")
    assert texts(await receiver.expect(1)) == ["for the hook"]


async def test_each_hook_gets_its_own_events(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    async with running_receiver() as other:
        await use_hooks(
            gateway, receiver.hook("message.stored"), other.hook("message.stored", name="search", format="cloudevents")
        )
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
            await say(alice, "lobby", "hello")
        [mine], [theirs] = await receiver.expect(1), await other.expect(1)
    assert mine.data == theirs.data
    assert mine.id != theirs.id


async def test_a_failed_event_comes_again_the_same_and_the_later_ones_of_its_room_wait(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.answer = lambda event: 500 if event.data["message"]["room"] == "bad" else 204
    async with App(gateway) as app, app.in_room("alice", "bad") as alice:
        await alice.ask("room.join", room="good")
        await say(alice, "bad", "one", "two", "three")
        await say(alice, "good", "other")
        await until(lambda: texts(receiver.got) == ["one", "other"])
        await next_attempt(gateway, receiver, 6)
        assert texts(receiver.got) == ["one", "other"]
        receiver.answer = lambda _: 204
        gateway.clock.ahead += 34
        await until(lambda: is_empty(gateway))
    first, *more = [each for each in receiver.got if each.data["message"].get("text") == "one"]
    assert len(more) == 2
    assert all((each.id, each.body) == (first.id, first.body) for each in more)
    times = [int(each.headers["webhook-timestamp"]) for each in (first, *more)]
    assert all(later - earlier >= 5 for earlier, later in pairwise(times))
    assert texts(receiver.got) == ["one", "other", "two", "three"]
    assert len(receiver.got) == 6


async def test_rooms_do_not_wait_for_each_other_and_sixteen_are_sent_at_once(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.may_answer.clear()
    rooms = [f"room-{number}" for number in range(20)]
    async with App(gateway) as app, app.connect("alice") as alice:
        for room in rooms:
            await alice.ask("room.join", room=room)
            await say(alice, room, f"{room} one", f"{room} two")
        await until(lambda: receiver.at_work == 16)
        receiver.may_answer.set()
        await until(lambda: is_empty(gateway))
    assert receiver.most_at_work == 16
    for room in rooms:
        assert texts([each for each in receiver.got if each.data["message"]["room"] == room]) == [
            f"{room} one",
            f"{room} two",
        ]
    assert len(receiver.got) == 40


async def test_an_event_is_parked_after_the_last_attempt_and_the_next_one_follows(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.answer = lambda event: 503 if event.data["message"]["text"] == "poison" else 204
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "poison", "food")
        await until(lambda: receiver.got)
        for delay in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600, 3 * 24 * 3600):
            await next_attempt(gateway, receiver, 1.1 * delay + 1)
        await until(lambda: "food" in texts(receiver.got))
    assert len([each for each in receiver.got if each.data["message"]["text"] == "poison"]) == 9
    await until(lambda: _is_parked(gateway))
    async with App(gateway) as app:
        await until(lambda: _shows(app, "parked", 1))
        await until(lambda: _shows(app, "waiting", 0))
        found = await metrics_of(app)
    assert found['gateway_hook_events_total{hook="push",outcome="failed"}'] == 9
    assert found['gateway_hook_events_total{hook="push",outcome="delivered"}'] == 1
    assert found['gateway_hook_oldest_seconds{hook="push"}'] == 0  # what is parked does not wait


async def _is_parked(gateway: Gateway) -> bool:
    return await figures_of(gateway) == Figures(waiting=0, parked=1)


async def _shows(app: App, state: str, count: int) -> bool:
    return (await metrics_of(app))[f'gateway_hook_events_waiting{{hook="push",state="{state}"}}'] == count


async def test_410_disables_a_hook_which_keeps_its_events(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.answer = lambda _: 410
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        assert (await app.http.get("/readyz")).json()["hooks"] == "up"
        await say(alice, "lobby", "one", "two")
        await until(lambda: gateway.state.webhooks.is_degraded)
        answer = await app.http.get("/readyz")
        assert (answer.status_code, answer.json()["status"], answer.json()["hooks"]) == (200, "degraded", "degraded")
        await say(alice, "lobby", "three")
        assert (await figures_of(gateway)).waiting == 3
    assert texts(receiver.got) == ["one"]


@pytest.mark.parametrize("status", [301, 307, 400, 429, 500])
async def test_any_other_answer_is_a_failure_and_a_redirect_is_not_followed(
    own_gateway: OwnGateway, receiver: Receiver, status: int
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.answer = lambda _: status
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "hello")
        await until(lambda: receiver.got)
        receiver.answer = lambda _: 200
        await next_attempt(gateway, receiver, 6)
    await until(lambda: is_empty(gateway))
    assert len(receiver.got) == 2


async def test_a_receiver_that_is_down_gets_all_in_order_once_it_is_back(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    url, receiver.url = receiver.url, "http://127.0.0.1:1/"
    await use_hooks(gateway, receiver.hook("message.stored"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", *(str(number) for number in range(10)))
        await until(lambda: _has_failed(gateway))
        receiver.url = url
        await use_hooks(gateway, receiver.hook("message.stored"))  # the file names another address
        gateway.clock.ahead += 6
        await until(lambda: is_empty(gateway))
    assert texts(receiver.got) == [str(number) for number in range(10)]
    assert len(receiver.got) == 10


async def _has_failed(gateway: Gateway) -> bool:
    return gateway.state.webhooks.state()["push"].outcomes["failed"] > 0


async def test_a_receiver_with_another_secret_sees_that_no_event_is_genuine(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored", secret=new_secret()))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "hello")
        [event] = await receiver.expect(1)
    assert not event.verified


async def test_a_gateway_with_a_skewed_clock_is_refused_and_delivers_once_its_clock_is_right(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    gateway.clock.ahead = -1800
    receiver.answer = lambda event: 204 if event.verified else 400
    await use_hooks(gateway, receiver.hook("message.stored"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "hello")
        await until(lambda: has_failed(gateway, 1))
    gateway.clock.ahead = 0
    await until(lambda: is_empty(gateway))
    first, second = receiver.got
    assert (first.verified, second.verified) == (False, True)
    assert (first.id, first.body) == (second.id, second.body)


async def test_a_slow_receiver_slows_down_nothing_else(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.stored"))
    receiver.may_answer.clear()
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", *(str(number) for number in range(50)))
        await until(lambda: receiver.got)
        assert len(receiver.got) == 1
        receiver.may_answer.set()
        await until(lambda: is_empty(gateway))
    assert texts(receiver.got) == [str(number) for number in range(50)]


async def test_a_removed_hook_keeps_its_events_until_it_is_back(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    receiver.answer = lambda _: 500
    await use_hooks(gateway, receiver.hook("message.stored"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", "before")
        await until(lambda: receiver.got)
        await use_hooks(gateway)
        await say(alice, "lobby", "between")
        receiver.answer = lambda _: 204
        gateway.clock.ahead += 6
        assert await figures_of(gateway) != Figures()
        assert len(receiver.got) == 1
        await use_hooks(gateway, receiver.hook("message.stored"))
        await say(alice, "lobby", "after")
        await until(lambda: is_empty(gateway))
    assert texts(receiver.got) == ["before", "after"]


async def test_a_hook_whose_receiver_is_down_for_an_hour_keeps_a_bounded_number_and_says_so(
    own_gateway: OwnGateway, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While the store counts, the bound may be passed by what comes meanwhile: here it counts at the start alone.
    monkeypatch.setattr(webhooks, "COUNT_SECONDS", 60)
    gateway = own_gateway(max_events_per_hook=5)
    receiver.answer = lambda _: 503
    await use_hooks(gateway, receiver.hook("message.stored"))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await say(alice, "lobby", *(str(number) for number in range(20)))
        gateway.clock.ahead += 3600
        assert (await figures_of(gateway)).waiting == 5
        assert gateway.state.webhooks.is_degraded
        assert (await app.http.get("/readyz")).json()["hooks"] == "degraded"
        assert (await metrics_of(app))['gateway_hook_events_total{hook="push",outcome="dropped"}'] == 15
        receiver.answer = lambda _: 204
        await until(lambda: is_empty(gateway))
        await until(lambda: not gateway.state.webhooks.is_degraded)
    async with App(gateway) as app, app.in_room("bobby", "lobby") as bobby:
        await say(bobby, "lobby", "after")
        await until(lambda: "after" in texts(receiver.got))
    assert texts(receiver.got) == ["0", "1", "2", "3", "4", "after"]


async def test_what_was_stored_before_a_restart_goes_out_after_it(
    store_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for_tests(tmp_path, database_url=store_url)
    receiver.answer = lambda _: 500
    with running_gateway(settings) as gateway:
        await use_hooks(gateway, receiver.hook("message.stored"))
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
            await say(alice, "lobby", "one", "two")
            await until(lambda: receiver.got)
    receiver.answer = lambda _: 204
    with running_gateway(settings) as gateway:
        gateway.clock.ahead = 6
        await use_hooks(gateway, receiver.hook("message.stored"))
        await until(lambda: is_empty(gateway))
    assert texts(receiver.got) == ["one", "two"]
