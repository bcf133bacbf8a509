"""Two gateways with one PostgreSQL and one Valkey: to their users they are one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights
from gateway.testing import Gateway
from tests.gateway.auth.forging import claims_of
from tests.handlers.test_system import add_admin
from tests.support.client import WAIT_SECONDS, App, ChatClient, Frame
from tests.support.metrics import metrics_of
from tests.support.nodes import running_nodes
from tests.support.postgres import fresh_database
from tests.support.valkey import Valkey, running_valkey
from tests.support.waiting import until

Unique = Callable[[str], str]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="module")
def nodes(valkey: Valkey, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """Two gateways that the tests share. Their users and rooms have names of their own."""
    with fresh_database(postgres) as url, running_nodes(tmp_path_factory.mktemp("nodes"), url, valkey) as running:
        yield running


@pytest.fixture
async def here(nodes: list[Gateway]) -> AsyncIterator[App]:
    """An app that the first gateway serves."""
    async with App(nodes[0]) as app:
        yield app


@pytest.fixture
async def there(nodes: list[Gateway]) -> AsyncIterator[App]:
    """An app that the second one serves."""
    async with App(nodes[1]) as app:
        yield app


@asynccontextmanager
async def apart(here: App, there: App, room: str, alice: str, bob: str) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Alice here and Bob there, in a room that Alice has made."""
    async with here.in_room(alice, room) as of_alice, there.in_room(bob, room) as of_bob:
        await of_alice.expect("room.joined", room=room, user=bob)
        yield of_alice, of_bob


async def test_what_is_said_edited_and_deleted_on_one_node_is_heard_on_the_other(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        said = await of_alice.say(room, "hello, ☃", client_id="1")
        heard = await of_bob.expect("chat.message", id=said["id"], text="hello, ☃", sender=alice)
        assert "client_id" not in heard
        edited = (await of_alice.ask("chat.edit", room=room, message_id=said["id"], text="hi"))["message"]
        await of_bob.expect("chat.edited", id=said["id"], text="hi", changed=edited["changed"])
        await of_alice.expect("chat.edited")
        await of_alice.ask("chat.delete", room=room, message_id=said["id"])
        await of_bob.expect("chat.deleted", id=said["id"], deleted=True)
        await of_bob.say(room, "bye")
        await of_alice.until(type="chat.message")


async def test_a_client_comes_back_to_the_other_node_while_a_message_grows_and_misses_no_piece(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    words = [f" {number}" for number in range(1, 301)]
    story = "0" + "".join(words)

    async def write(author: ChatClient, piece: Frame) -> None:
        for word in words:
            await author.start("chat.append", text=word, **piece)
            await asyncio.sleep(1 / 300)
        last = await author.start("chat.append", text="", done=True, **piece)
        assert (await author.until(id=last))["status"] == 20000

    async def read(app: App, text: str, since: Frame | None, pieces: int) -> tuple[str, Frame]:
        """Join or resume, and return the text after so many pieces, or at its end, with the position."""
        async with app.connect(bob) as reader:
            joined = await reader.ask("room.join", room=room, **({} if since is None else {"since": since}))
            changed = joined["offset"]
            for whole in joined.get("messages") or [event["data"] for event in joined["events"]]:
                assert whole["text"].startswith(text)
                assert whole["changed"] == changed
                text = whole["text"]
            while pieces and text != story:
                piece = await reader.expect("chat.appended", at=len(text), changed=changed + 1)
                text, changed, pieces = text + piece["text"], changed + 1, pieces - 1
            return text, {"epoch": joined["epoch"], "offset": changed}

    async with here.in_room(alice, room) as author, asyncio.TaskGroup() as tasks:
        message = await author.say(room, "0")
        tasks.create_task(write(author, {"room": room, "message_id": message["id"]}))
        text, position = await read(here, "", None, 3)
        text, position = await read(there, text, position, 3)
        text, position = await read(there, text, position, 1000)
    assert text == story


async def test_pieces_from_both_nodes_make_one_text(here: App, there: App, room: str, alice: str) -> None:
    async with here.in_room(alice, room) as phone, there.in_room(alice, room) as laptop:
        message = await phone.say(room, ":")
        await laptop.expect("chat.message")
        text = ":"
        for client, letter in ((phone, "a"), (laptop, "b")):
            for _ in range(10):
                await client.start("chat.append", room=room, message_id=message["id"], text=letter)
        while len(text) < 21:
            frame = await laptop.next()
            if frame["type"] == "chat.appended":
                assert frame["data"]["at"] == len(text)
                text += frame["data"]["text"]
            elif frame["type"] == "chat.edited":  # a node that missed a piece has read the whole
                text = frame["data"]["text"]
        assert sorted(text[1:]) == sorted("a" * 10 + "b" * 10)
        await laptop.heard()
        [stored] = (await laptop.ask("chat.history", room=room))["messages"]
        assert stored["text"] == text


async def test_a_signal_is_heard_on_the_other_node_until_an_owner_turns_signals_off(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        await of_bob.ask("room.signal", room=room, name="cursor", data={"x": 1})
        await of_alice.expect("room.signal", user=bob, name="cursor", data={"x": 1})
        await of_alice.ask("room.update", room=room, signals=False)
        await of_bob.expect("room.updated")

        async def is_refused() -> bool:
            number = await of_bob.start("room.signal", room=room, name="cursor")
            answer: Frame = await of_bob.until(id=number)
            return answer.get("status") == 40300

        await until(is_refused)


async def test_a_message_over_http_to_one_node_is_heard_on_the_other(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        token = await here.token(alice)
        sent = await here.ask("POST", "/call/chat.send", token, json={"room": room, "text": "hello"})
        assert sent.status_code == 200, sent.text
        await of_bob.expect("chat.message", id=sent.json()["message"]["id"])
        await of_alice.expect("chat.message", id=sent.json()["message"]["id"])
        left = await there.ask("POST", "/call/room.leave", token, json={"room": room})
        assert left.status_code == 200, left.text
        await of_alice.expect("room.left", user=alice)
        await of_bob.until(type="room.left", data={"room": room, "user": alice})


async def test_the_other_connection_of_a_sender_sees_the_client_id_on_any_node(
    here: App, there: App, room: str, alice: str
) -> None:
    async with here.in_room(alice, room) as one, there.in_room(alice, room) as other:
        said = await one.say(room, "hello", client_id="from-my-phone")
        await other.expect("chat.message", id=said["id"], client_id="from-my-phone")


async def test_a_client_of_one_node_comes_back_to_the_other_with_one_message_while_others_talk(
    here: App, there: App, unique: Unique, alice: str, bob: str
) -> None:
    rooms = [unique("room") for _ in range(20)]
    async with here.connect(alice) as of_alice:
        of_alice.ignored |= {"room.joined"}
        async with here.connect(bob) as of_bob:
            for room in rooms:
                await of_alice.ask("room.join", room=room)
                await of_bob.ask("room.join", room=room)
        found = await with_rooms(there, bob)

        async def talk() -> None:
            for number in range(100):
                await of_alice.say(rooms[number % len(rooms)], str(number))

        talking = asyncio.create_task(talk())
        async with there.connect(bob) as of_bob:
            since = [{"room": room["name"], "since": {key: room[key] for key in ("epoch", "offset")}} for room in found]
            reply = await of_bob.ask("room.resume", rooms=since)
            assert [each["room"] for each in reply["rooms"]] == [room["name"] for room in found]
            heard = {each["room"]: [event["data"]["offset"] for event in each["events"]] for each in reply["rooms"]}
            while not all(offsets[-1:] == [5] for offsets in heard.values()):
                message = await of_bob.expect("chat.message")
                heard[message["room"]].append(message["offset"])
            await talking
            await of_bob.expect_nothing()
        assert heard == {room: [1, 2, 3, 4, 5] for room in rooms}


async def with_rooms(app: App, user: str) -> list[Frame]:
    """The user's rooms, as the welcome has them."""
    async with app.socket(f"?rooms=1&token={await app.token(user)}") as client:
        found: list[Frame] = (await client.expect("welcome"))["rooms"]
        return found


async def test_messages_of_both_nodes_are_heard_in_the_order_of_offsets_and_once(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async def chatter(client: ChatClient) -> list[int]:
        for number in range(50):
            await client.start("chat.send", room=room, text=str(number))
        offsets: list[int] = []
        while len(offsets) < 100:
            frame = await client.next()
            if frame["type"] == "chat.message":
                offsets.append(frame["data"]["offset"])
        await client.expect_nothing()
        return offsets

    async with apart(here, there, room, alice, bob) as both:
        for offsets in await asyncio.gather(*map(chatter, both)):
            assert offsets == list(range(1, 101))


async def test_typing_reaches_the_other_node_and_no_other_room(
    here: App, there: App, room: str, alice: str, bob: str, unique: Unique
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        async with there.in_room(unique("carol"), unique("room")) as of_carol:
            await of_alice.ask("chat.typing", room=room)
            await of_bob.expect("chat.typing", room=room, user=alice)
            await of_carol.expect_nothing()


async def test_an_invitation_finds_its_user_on_the_other_node_and_a_kick_ends_the_hearing_there(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with here.connect(alice) as of_alice, there.connect(bob) as of_bob:
        await of_alice.ask("room.create", room=room, private=True)
        await of_alice.ask("room.invite", room=room, user=bob)
        await of_bob.expect("room.invited", by=alice)
        await of_bob.ask("room.join", room=room)
        await of_alice.ask("room.join", room=room)
        await of_alice.say(room, "for members")
        await of_bob.expect("chat.message", text="for members")
        await of_alice.ask("room.kick", room=room, user=bob)
        await of_bob.expect("room.left", room=room, user=bob, by=alice)
        await of_alice.until(type="room.left")
        await of_alice.say(room, "without Bob")
        await of_bob.expect_nothing()
        assert (await of_bob.refused("chat.send", room=room, text="?"))["status"] in {40301, 40400}


async def test_a_room_that_is_deleted_is_gone_on_the_other_node(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        await of_alice.ask("room.delete", room=room)
        await of_bob.expect("room.deleted", room=room)
        assert (await of_bob.refused("chat.send", room=room, text="?"))["status"] == 40400


async def test_two_users_on_two_nodes_have_one_direct_room(here: App, there: App, alice: str, bob: str) -> None:
    async with here.connect(alice) as of_alice, there.connect(bob) as of_bob:
        direct = (await of_alice.ask("direct.open", user=bob))["room"]["name"]
        await of_bob.expect("room.invited", by=alice)
        assert (await of_bob.ask("direct.open", user=alice))["room"]["name"] == direct
        await of_alice.ask("room.join", room=direct)
        await of_bob.ask("room.join", room=direct)
        await of_bob.say(direct, "psst")
        await of_alice.expect("chat.message", room=direct, text="psst", sender=bob)


async def test_an_announcement_reaches_all_on_both_nodes(
    nodes: list[Gateway], here: App, there: App, alice: str, bob: str
) -> None:
    await nodes[0].run(add_admin(nodes[0], alice))
    async with here.connect(alice) as of_alice, there.connect(bob) as of_bob:
        await of_alice.ask("announce", text="maintenance at noon")
        await of_bob.expect("announcement", text="maintenance at noon")


async def test_whoever_logs_out_here_is_cut_off_there_at_once(here: App, there: App, alice: str) -> None:
    grant = await here.grant(alice)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(app.connect_with(grant["access_token"])) for app in (here, there)]
        revoked = await here.http.post("/token/revoke", data={"token": grant["refresh_token"]})
        assert revoked.status_code == 200
        for client in clients:
            await client.expect_revoked()


async def readiness(app: App) -> tuple[int, Frame]:
    response = await app.http.get("/readyz")
    return response.status_code, response.json()


async def until_ready(app: App, status: str) -> Frame:
    """Wait until `/readyz` reports this, and return its whole answer."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (said := (await readiness(app))[1])["status"] != status:  # noqa: ASYNC110 - as a load balancer does
            await asyncio.sleep(0.02)
    return said


async def test_messages_edits_and_kicks_reach_the_other_node_while_the_bus_is_away_and_after(
    unreliable: Valkey, postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(postgres) as url, running_nodes(tmp_path, url, unreliable, sweep_seconds=60) as nodes:
        async with App(nodes[0]) as here, App(nodes[1]) as there:
            async with apart(here, there, "lobby", "alice", "bob") as (of_alice, of_bob):
                first = await of_alice.say("lobby", "before")
                await of_bob.until(type="chat.message")
                unreliable.stop()
                for app in (here, there):
                    not_ready = {
                        "status": "not_ready",
                        "store": "up",
                        "bus": "down",
                        "hooks": "up",
                        "upstreams": "up",
                    }
                    assert await until_ready(app, "not_ready") == not_ready
                    assert (await readiness(app))[0] == 503
                    assert (await app.http.get("/healthz")).status_code == 200
                    assert (await metrics_of(app))["gateway_bus_up"] == 0
                # Within the second after which nodes look into the store.
                await of_alice.say("lobby", "while the bus is away")
                await of_bob.expect("chat.message", text="while the bus is away")
                await of_alice.ask("chat.edit", room="lobby", message_id=first["id"], text="edited")
                await of_bob.expect("chat.edited", id=first["id"], text="edited")
                await of_bob.ask("chat.send", room="lobby", text="from there")
                await of_bob.expect("chat.message", text="from there")
                await of_alice.until(type="chat.edited")
                await of_alice.expect("chat.message", text="from there")
                await of_alice.ask("room.kick", room="lobby", user="bob")
                await of_bob.expect("room.left", room="lobby", user="bob")
                await of_alice.until(type="room.left")
                unreliable.start()
                for app in (here, there):
                    await until_ready(app, "ready")
                    assert (await metrics_of(app))["gateway_bus_reconnects_total"] == 1
                await of_alice.say("lobby", "after, and not for Bob")
                await of_bob.expect_nothing()
                await of_bob.ask("room.join", room="lobby")
                await of_alice.expect("room.joined", user="bob")
                await of_alice.say("lobby", "for both")
                await of_bob.expect("chat.message", text="for both")
    assert "the bus is away: " in caplog.text


async def test_what_is_said_while_the_bus_hangs_comes_late_but_all_and_in_order(
    unreliable: Valkey, postgres: str, tmp_path: Path
) -> None:
    with fresh_database(postgres) as url, running_nodes(tmp_path, url, unreliable, sweep_seconds=60) as nodes:
        async with App(nodes[0]) as here, App(nodes[1]) as there:
            async with apart(here, there, "lobby", "alice", "bob") as (of_alice, of_bob):
                unreliable.freeze()
                try:
                    for number in range(1, 21):  # before it is noticed, and after
                        await of_alice.say("lobby", str(number))
                        await asyncio.sleep(0.03)
                    for app in (here, there):
                        await until_ready(app, "not_ready")
                    for number in range(1, 21):
                        await of_bob.expect("chat.message", offset=number, text=str(number))
                finally:
                    unreliable.thaw()
                for app in (here, there):
                    await until_ready(app, "ready")
                await of_bob.say("lobby", "21")
                await of_alice.expect("chat.message", offset=21, text="21")
                for client in (of_alice, of_bob):
                    await client.expect_nothing()


async def test_what_a_newer_version_says_on_our_channels_is_found_in_the_store(
    nodes: list[Gateway], valkey: Valkey, here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
        before = await metrics_of(there)
        valkey.ask(f"PUBLISH json-gateway:room:{room} hunter2")
        valkey.ask(f"PUBLISH json-gateway:room:{room} jg2")
        await of_alice.say(room, "hello")
        await of_bob.expect("chat.message", text="hello")
        await of_bob.expect_nothing()
        now = await metrics_of(there)
        for reason in ("foreign", "version"):
            name = f'gateway_bus_rejected_total{{reason="{reason}"}}'
            assert now[name] == before.get(name, 0) + 1


async def test_without_the_bus_a_gateway_may_be_let_start_and_says_that_it_is_degraded(
    unreliable: Valkey, postgres: str, tmp_path: Path
) -> None:
    unreliable.stop()
    with (
        fresh_database(postgres) as url,
        running_nodes(tmp_path, url, unreliable, bus_required=False, sweep_seconds=60) as nodes,
    ):
        async with App(nodes[0]) as here, App(nodes[1]) as there:
            for app in (here, there):
                degraded = {"status": "degraded", "store": "up", "bus": "down", "hooks": "up", "upstreams": "up"}
                assert await readiness(app) == (200, degraded)
            async with apart_without_news(here, there) as (of_alice, of_bob):
                for client in (of_alice, of_bob):
                    client.ignored.add("room.joined")  # of the other: it waits, and may come when the bus does
                await of_alice.say("lobby", "without a bus")
                await of_bob.until(type="chat.message")
                unreliable.start()
                for app in (here, there):
                    assert await until_ready(app, "ready") == {
                        "status": "ready",
                        "store": "up",
                        "bus": "up",
                        "hooks": "up",
                        "upstreams": "up",
                    }
                await of_alice.say("lobby", "with a bus")
                await of_bob.expect("chat.message", text="with a bus")


@asynccontextmanager
async def apart_without_news(here: App, there: App) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Alice here and Bob there, in the lobby; neither is notified of the other's join."""
    async with here.in_room("alice", "lobby") as of_alice, there.in_room("bob", "lobby") as of_bob:
        yield of_alice, of_bob


async def test_two_clusters_that_share_a_server_and_not_a_prefix_hear_nothing_of_each_other(
    valkey: Valkey, postgres: str, tmp_path: Path
) -> None:
    with (
        fresh_database(postgres) as url,
        fresh_database(postgres) as other_url,
        running_nodes(tmp_path / "one", url, valkey, count=1, bus_prefix="one") as (one,),
        running_nodes(tmp_path / "two", other_url, valkey, count=1, bus_prefix="two") as (two,),
    ):
        async with App(one) as here, App(two) as there, apart_without_news(here, there) as (of_alice, of_bob):
            await of_alice.say("lobby", "only here")
            await of_bob.expect_nothing()
            assert (await metrics_of(there))["gateway_bus_received_total"] == 0


async def test_clocks_that_are_30_seconds_apart_change_nothing_but_where_a_new_token_is_good(
    nodes: list[Gateway], here: App, there: App, room: str, alice: str, bob: str
) -> None:
    nodes[1].clock.ahead = 30
    try:
        async with apart(here, there, room, alice, bob) as (of_alice, of_bob):
            for client, other in ((of_alice, of_bob), (of_bob, of_alice)):
                said = await client.say(room, "hello", client_id="once")
                await other.expect("chat.message", id=said["id"])
                again = await client.ask("chat.send", room=room, text="hello", client_id="once")
                assert (again["duplicate"], again["message"]["id"]) == (True, said["id"])
            grant = await here.grant(bob)
            async with there.connect_with(grant["access_token"]) as other_phone:
                await there.http.post("/token/revoke", data={"token": grant["refresh_token"]})
                await other_phone.expect_revoked()
            # What was made in 30 seconds is not taken: of tokens, no more than 10 seconds are forgiven.
            async with here.socket(f"?token={await there.token(bob)}") as early:
                await early.expect("error", name="authentication_failed")
    finally:
        nodes[1].clock.ahead = 0


async def test_rights_by_room_count_on_every_node_however_a_user_comes(
    here: App, there: App, room: str, alice: str, bob: str
) -> None:
    async def set_rights(**claim: list[str]) -> None:
        change = partial(groups.set_rights, name=f"group-{room}", rights=RoomRights.parse(claim))
        await here.gateway.run(here.gateway.state.database.transact(change))

    red, blue = f"{room}-red", f"{room}-blue"
    await set_rights(**{red: ["join", "send"], blue: ["join"]})
    user_id = claims_of(await here.token(alice))["sub"]
    join = partial(groups.join, user_id=user_id, names=[f"group-{room}"])
    await here.gateway.run(here.gateway.state.database.transact(join))
    token = await here.token(alice)
    async with here.in_room(bob, red) as of_bob:
        await of_bob.ask("room.join", room=blue)
        bought = await here.ask("POST", "/ws/ticket", token)
        async with there.socket(f"?ticket={bought.json()['ticket']}") as of_alice:
            await of_alice.expect("welcome")
            rooms = [{"room": name} for name in (red, blue, f"{room}-other")]
            resumed = (await of_alice.ask("room.resume", rooms=rooms))["rooms"]
            assert [part.get("error", {}).get("status") for part in resumed] == [None, None, 40300]
            for _ in range(2):
                await of_bob.until(type="room.joined")
            await of_alice.say(red, "from there")
            await of_bob.expect("chat.message", text="from there")
            assert (await of_alice.refused("chat.send", room=blue, text="no"))["status"] == 40300
            await set_rights(**{red: ["join"]})
            await of_alice.expect("resync", room=blue)
            renewed = await there.token(alice)
            await of_alice.ask("auth.refresh", token=renewed)
            await of_bob.say(blue, "not for Alice any more")
            await of_bob.say(red, "for Alice")
            await of_alice.expect("chat.message", room=red, text="for Alice")
            await of_alice.expect_nothing()
        for app in (here, there):
            async with app.connect_with(token) as again:  # an older token, which names more
                resumed = (await again.ask("room.resume", rooms=rooms))["rooms"]
                assert [part.get("error", {}).get("status") for part in resumed] == [None, 40300, 40300]
        await of_bob.expect_nothing()
