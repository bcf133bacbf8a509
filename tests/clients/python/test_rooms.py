"""Rooms that are kept over any number of connections, against a live gateway behind a network that fails."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway_client import Gap, Gateway, Lost, Overflowed, Position, Refused, Room, Times, connect
from gateway_client.messages import ChatDeleted, ChatEdited, ChatMessage, JoinRoom, SendMessage
from tests.clients.python.scripted import HASTY, Visit, client_of, scripted
from tests.clients.python.test_nonsense import a_message
from tests.support.client import App
from tests.support.raw_server import raw_server
from tests.support.waiting import until

pytestmark = pytest.mark.server


class Network:
    """A network between the client and its gateway, which can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.opened = 0
        self.dropped = 0
        """How many connections were cut."""
        self.down = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Cut all connections, in the middle of what they carry."""
        self.dropped += len(self._open) // 2
        for writer in tuple(self._open):
            writer.transport.abort()
        self._open.clear()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Network"]:
        async with raw_server(self._pass_on) as self._port:
            yield self
            self.cut()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        self.opened += 1
        there, out = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer, out}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, out))
                group.create_task(pump(there, writer))
        except* (OSError, ConnectionError):
            pass
        finally:
            self._open -= {writer, out}
            out.transport.abort()
            writer.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    raise ConnectionResetError


@asynccontextmanager
async def cut_off(app: App, user: str, **options: Any) -> AsyncIterator[tuple[Gateway, Network]]:
    """Connect as a user over a network that can be cut."""
    chosen: dict[str, Any] = {"token": await app.token(user), "times": HASTY} | options
    async with asyncio.timeout(30), Network(app.gateway.port).running() as network:
        async with connect(network.url, **chosen) as gateway:
            yield gateway, network


@asynccontextmanager
async def away(gateway: Gateway, network: Network) -> AsyncIterator[None]:
    """Cut the network for a while. At its end, the client is back."""
    network.down = True
    network.cut()
    await until(lambda: gateway.state != "open")
    yield
    network.down = False
    await gateway.opened()


async def test_what_was_missed_comes_as_events_without_a_gap(app: App, alice: str, bob: str, room: str) -> None:
    async with cut_off(app, alice) as (gateway, network), app.connect(bob) as ben:
        lobby = gateway.room(room)
        events, messages = gateway.events(ChatMessage, ChatEdited, ChatDeleted), lobby.messages()
        reply = await lobby.join()
        assert (lobby.state, reply.messages, lobby.position) == ("joined", [], Position(epoch=reply.epoch, offset=0))
        await ben.ask("room.join", room=room)
        first = await ben.say(room, "one")
        assert isinstance(one := await anext(events), ChatMessage)
        assert one.text == "one"
        async with away(gateway, network):
            second = await ben.say(room, "two")
            await ben.ask("chat.edit", room=room, message_id=first["id"], text="one!")
            await ben.expect("chat.edited")
            await ben.ask("chat.delete", room=room, message_id=second["id"])
            await ben.expect("chat.deleted")
        missed = [await anext(events), await anext(events)]
        assert [(type(event), event.id) for event in missed] == [
            (ChatEdited, first["id"]),
            (ChatDeleted, second["id"]),
        ]
        assert [(await anext(messages)).text for _ in range(3)] == ["one", "one!", None]
        assert lobby.position == Position(epoch=reply.epoch, offset=4)
        # Own messages come as well, and a send answers with the stored one.
        sent = await lobby.send("three", reply_to=first["id"])
        assert (await anext(events)) == ChatMessage.read(sent.model_dump(exclude_unset=True))
        assert [each.text for each in (await lobby.history(before=sent.offset, limit=1)).messages] == [None]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.05)


async def test_a_gap_is_told_with_its_reason_and_the_newest_messages(app: App, alice: str, bob: str, room: str) -> None:
    async with cut_off(app, alice) as (gateway, network), app.in_room(bob, room) as ben:
        ben.ignored |= {"room.joined"}
        lobby = gateway.room(room)
        gaps, messages = lobby.events(Gap), lobby.messages()
        before = await lobby.join()
        async with away(gateway, network):
            await ben.ask("room.delete", room=room)
            await ben.expect("room.deleted")
            await ben.ask("room.join", room=room)
            await ben.say(room, "a new room")
        gap = await anext(gaps)
        assert (gap.reason, gap.lost.epoch, [each.text for each in gap.messages]) == (
            "epoch_changed",
            before.epoch,
            ["a new room"],
        )
        assert lobby.position == gap.position
        assert (await anext(messages)).text == "a new room"
        # A position of an earlier run that this log never had.
        later = gateway.room(room)
        assert (await later.join(since=Position(epoch=gap.position.epoch, offset=999))).messages is not None
        assert ((await anext(gaps)).reason, later.position) == ("position_lost", gap.position)


async def test_rooms_that_were_joined_by_a_plain_call_resume_as_well(
    app: App, alice: str, bob: str, unique: Any
) -> None:
    one, two, three, left = (unique("room") for _ in range(4))
    async with cut_off(app, alice) as (gateway, network), app.connect(bob) as ben:
        events = gateway.events(ChatMessage)
        await gateway.call(JoinRoom(room=one))
        await gateway.call("room.resume", {"rooms": [{"room": two}]})
        await gateway.room(three).join()
        await gateway.room(left).join()
        await gateway.room(left).leave()
        quit = gateway.room(one)
        assert quit.state == "joined"
        async with away(gateway, network):
            for name in (one, two, three):
                await ben.ask("room.join", room=name)
                await ben.say(name, f"to {name}")
        assert {(await anext(events)).room for _ in range(3)} == {one, two, three}
        quit.quit()
        async with away(gateway, network):
            pass
        await ben.say(one, "to an empty room")
        await ben.say(two, "to two")
        assert (await anext(events)).text == "to two"


async def test_a_room_that_the_user_is_out_of_ends_its_loops(app: App, alice: str, bob: str, unique: Any) -> None:
    kicked, private = unique("room"), unique("room")
    async with cut_off(app, alice) as (gateway, network), app.connect(bob) as ben:
        for name, hidden in ((kicked, False), (private, True)):
            await ben.ask("room.create", room=name, private=hidden)
        await ben.ask("room.invite", room=private, user=alice)
        loops = [gateway.room(name).events() for name in (kicked, private)]
        await gateway.room(kicked).join()
        await gateway.room(private).join()
        await ben.ask("room.kick", room=kicked, user=alice)
        assert [event.type async for event in loops[0]][-1] == "room.left"
        assert gateway.room(kicked).state in {"left", "idle"}
        async with away(gateway, network):
            await ben.ask("room.kick", room=private, user=alice)
        with pytest.raises(Refused, match="no room") as refused:
            _ = [event async for event in loops[1]]
        assert refused.value.status == 40400
        with pytest.raises(Refused):
            await gateway.room(private).join()


async def test_a_message_that_grows_is_whole_for_each_reader_also_after_a_cut(
    app: App, alice: str, bob: str, room: str
) -> None:
    words = [f"word {number} 👩‍👧 " for number in range(60)]
    async with cut_off(app, alice) as (writer, network), cut_off(app, bob) as (reader, far):
        await writer.room(room).join()
        heard = reader.room(room)
        messages = heard.messages()
        await heard.join()
        cuts = asyncio.create_task(cut_now_and_then(network, far))
        async with writer.room(room).grow() as story:
            for word in words:
                await story.append(word)
                await asyncio.sleep(0.005)
        cuts.cancel()
        while not (last := await anext(messages)).done:
            assert "".join(words).startswith(last.text or "")
        assert last.text == "".join(words)
        assert story.message is not None
        assert last.id == story.message.id
        with pytest.raises(RuntimeError, match="within"):
            await story.append("more")


async def cut_now_and_then(*networks: Network) -> None:
    while True:
        await asyncio.sleep(0.06)
        random.choice(networks).cut()


async def test_a_growing_message_that_is_refused_says_so(app: App, alice: str, room: str) -> None:
    async with cut_off(app, alice) as (gateway, _):
        with pytest.raises(Refused, match="no room"):
            async with gateway.room(room).grow() as story:
                await story.append("the room is empty")
        await gateway.room(room).join()
        with pytest.raises(ZeroDivisionError):
            await begin_and_fail(gateway.room(room))
        [message] = (await gateway.room(room).history()).messages
        assert (message.text, message.done) == ("half", None)
        async with gateway.room(room).grow():
            pass
        assert len((await gateway.room(room).history()).messages) == 1


async def begin_and_fail(room: Room) -> None:
    async with room.grow() as story:
        await story.append("half")
        await until(lambda: story.message is not None)
        raise ZeroDivisionError


async def test_a_piece_whose_message_is_unknown_is_read_again() -> None:
    whole = a_message(1, text="Hello all", changed=3)

    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.reply(await visit.expect("room.join"), {"room": "lobby", "epoch": "e", "offset": 1, "members": 1})
        piece = {"id": "e.1", "room": "lobby", "epoch": "e", "offset": 1, "at": 5, "text": " all"}
        await visit.send("chat.appended", data=piece | {"changed": 2})
        message = await visit.expect("chat.history")
        assert message["data"] == {"room": "lobby", "after": 0, "limit": 1}
        await visit.reply(message, {"messages": [whole], "has_more": False})
        await visit.send("chat.appended", data=piece | {"changed": 2})  # it was there before
        await visit.send("chat.appended", data=piece | {"changed": 4, "at": 9, "text": "!", "done": True})
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        lobby = gateway.room("lobby")
        messages = lobby.messages()
        await lobby.join()
        assert [(each.text, each.done) for each in [await anext(messages), await anext(messages)]] == [
            ("Hello all", None),
            ("Hello all!", True),
        ]


async def test_pages_of_a_resume_go_on_until_no_room_is_missing() -> None:
    asked: list[list[str]] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            for _ in range(200):
                await visit.reply(message := await visit.expect("room.join"), entry(message["data"]["room"]))
            visit.drop()
        while True:
            message = await visit.next()
            if message["type"] != "room.resume":
                await visit.reply(message)
                continue
            rooms = message["data"]["rooms"]
            asked.append([each["room"] for each in rooms])
            entries = [entry(each["room"], recovered="since" in each) for each in rooms]
            match len(asked):
                case 1:  # a page that ends early, with an entry that no question was about
                    await visit.reply(message, {"rooms": [entry("other"), *entries[:50]], "has_more": True})
                case 2:  # one position is lost, one room has to wait, one is closed
                    errors = [error(room, status) for room, status in (("r50", 41000), ("r51", 42900), ("r52", 40300))]
                    await visit.reply(message, {"rooms": [*errors, *entries[3:]], "has_more": False})
                case 3:
                    assert [each for each in rooms if "since" not in each] == [{"room": "r50"}]
                    await visit.reply(message, {"rooms": entries, "has_more": False})
                case _:
                    await visit.reply(message, {"rooms": entries, "has_more": False})

    async with scripted(script) as server, client_of(server, times=Times(first_delay=0.01)) as gateway:
        gaps = gateway.events(Gap)
        for number in range(200):
            await gateway.room(f"r{number}").join()
        await until(lambda: len(asked) >= 4)
        assert await gateway.call("echo", {}) == {}
        gap = await anext(gaps)
        assert (gap.room, gap.reason) == ("r50", "position_lost")
        await until(lambda: ["r51"] in asked)
        assert gateway.room("r52").state in {"refused", "idle"}
    assert [len(each) for each in asked[:3]] == [128, 128, 23]
    assert asked[1][0] == "r50"


def entry(room: str, *, recovered: bool = False) -> dict[str, Any]:
    place = {"room": room, "epoch": "e", "offset": 7, "members": 1}
    return place | ({"recovered": True, "events": []} if recovered else {"messages": []})


def error(room: str, status: int) -> dict[str, Any]:
    words = {"status": status, "name": "x", "message": "no", "retryable": status == 42900, "retry_after_ms": 1}
    return {"room": room, "error": words}


@pytest.mark.parametrize("answer", [{}, {"rooms": []}, {"rooms": [7]}, {"rooms": [{"room": "lobby", "epoch": 7}]}, "x"])
async def test_a_resume_that_answers_nonsense_is_tried_again_later(answer: Any) -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.reply(await visit.expect("room.join"), entry("lobby"))
            visit.drop()
        await visit.reply(await visit.expect("room.resume"), answer)
        await visit.reply(await visit.expect("room.resume"), {"rooms": [entry("lobby", recovered=True)]})
        await visit.send("chat.message", data=a_message(8))
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        lobby = gateway.room("lobby")
        events = lobby.events(ChatMessage)
        await lobby.join()
        assert (await anext(events)).offset == 8


async def test_a_resync_joins_the_room_again_and_repeats_nothing() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.reply(await visit.expect("room.join"), entry("lobby"))
        await visit.send("chat.message", data=a_message(8))
        await visit.send("resync", data={"room": "lobby", "epoch": "e", "offset": 10})
        message = await visit.expect("room.resume")
        assert message["data"] == {"rooms": [{"room": "lobby", "since": {"epoch": "e", "offset": 8}}]}
        missed = [{"type": "chat.message", "data": a_message(number)} for number in (8, 9, 10)]
        await visit.reply(message, {"rooms": [entry("lobby", recovered=True) | {"offset": 10, "events": missed}]})
        for number in (10, 11):
            await visit.send("chat.message", data=a_message(number))
        # An event of another log of the room: the client asks what has become of it.
        await visit.send("chat.message", data=a_message(1, epoch="f"))
        await visit.reply(await visit.expect("room.resume"), {"rooms": [entry("lobby") | {"epoch": "f"}]})
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        events, gaps = gateway.events(ChatMessage), gateway.events(Gap)
        await gateway.room("lobby").join()
        assert [(await anext(events)).offset for _ in range(4)] == [8, 9, 10, 11]
        assert (await anext(gaps)).position == Position(epoch="f", offset=7)


async def test_an_event_right_behind_a_resync_hides_no_hole() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.reply(await visit.expect("room.join"), entry("lobby"))
        await visit.send("resync", data={"room": "lobby", "epoch": "e", "offset": 9})
        await visit.send("chat.message", data=a_message(10))
        message = await visit.expect("room.resume")
        assert message["data"] == {"rooms": [{"room": "lobby", "since": {"epoch": "e", "offset": 7}}]}
        missed = [{"type": "chat.message", "data": a_message(number)} for number in (8, 9, 10)]
        await visit.reply(message, {"rooms": [entry("lobby", recovered=True) | {"offset": 10, "events": missed}]})
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        events = gateway.events(ChatMessage)
        await gateway.room("lobby").join()
        assert [(await anext(events)).offset for _ in range(3)] == [8, 9, 10]


async def test_rooms_come_back_in_messages_of_the_size_that_the_gateway_takes() -> None:
    asked: list[int] = []

    async def script(visit: Visit) -> None:
        await visit.welcome(max_message_bytes=1024)
        while True:
            message = await visit.next()
            if message["type"] == "room.join":
                await visit.reply(message, entry(message["data"]["room"]))
            elif message["type"] == "room.resume":
                rooms = [each["room"] for each in message["data"]["rooms"]]
                asked.append(len(rooms))
                if "room 7" in rooms:
                    await visit.refuse(message, 42200 if len(rooms) > 1 else 40400)
                else:
                    await visit.reply(message, {"rooms": [entry(room, recovered=True) for room in rooms]})
            else:
                visit.drop()

    async with scripted(script) as server, client_of(server) as gateway:
        rooms = [gateway.room(f"room {number}") for number in range(40)]
        for room in rooms:
            await room.join()
        with pytest.raises(Lost):
            await gateway.call("drop")
        await gateway.opened()
        assert {room.name for room in rooms if room.state != "joined"} == {"room 7"}
        assert max(asked) > 10


async def test_a_gateway_that_never_answers_for_the_rooms_is_left() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.reply(await visit.expect("room.join"), entry("lobby"))
            visit.drop()
        message = await visit.expect("room.resume")
        if visit.number > 2:
            await visit.reply(message, {"rooms": [entry("lobby", recovered=True)]})
        await visit.serve()

    times = replace(HASTY, answer=0.1)
    async with scripted(script) as server, client_of(server, times=times) as gateway:
        await gateway.room("lobby").join()
        await until(lambda: len(server.visits) == 3 and gateway.state == "open")


async def test_a_loop_that_reads_too_slowly_learns_that_it_has_lost_events() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        message = await visit.next()
        for number in range(1, 11):
            await visit.send("chat.message", data=a_message(number))
        await visit.reply(message)
        message = await visit.next()
        await visit.send("chat.message", data=a_message(11))
        await visit.reply(message)
        await visit.serve()

    async with scripted(script) as server, client_of(server, max_events=3) as gateway:
        events = gateway.events(ChatMessage)
        await gateway.call("echo", {})
        assert [(await anext(events)).offset for _ in range(3)] == [1, 2, 3]
        with pytest.raises(Overflowed, match="over 3 events"):
            await anext(events)
        await gateway.call("echo", {})
        assert (await anext(events)).offset == 11


async def test_a_hundred_and_twenty_eight_rooms_resume_in_one_message(app: App, alice: str, bob: str) -> None:
    names = [f"{alice}-{number}" for number in range(128)]
    sent: list[str] = []
    options = {"on_frame": lambda direction, text: sent.append(text) if direction == "out" else None}
    async with cut_off(app, alice, **options) as (gateway, network), app.connect(bob) as ben:
        events = gateway.events(ChatMessage)
        for name in names:
            await gateway.room(name).join()
        await ben.ask("room.resume", rooms=[{"room": name} for name in names])
        async with away(gateway, network):
            sent.clear()
            for name in names[::16]:
                await ben.say(name, "hi")
        assert {(await anext(events)).room for _ in range(8)} == set(names[::16])
        assert ["room.resume" in text for text in sent] == [True]
        assert all(gateway.room(name).position is not None for name in names)


async def test_a_thousand_drops_at_random_lose_nothing_and_double_nothing(
    app: App, alice: str, bob: str, room: str
) -> None:
    """Both users speak all the time, and both connections are cut a thousand times in all, wherever they are."""
    drops, said = 1000, 2000
    times = Times(first_delay=0.004, longest_delay=0.01)
    async with cut_off(app, alice, times=times) as (ann, near), cut_off(app, bob, times=times) as (ben, far):
        heard: dict[str, list[str]] = {"ann": [], "ben": []}
        loops = []
        for name, gateway in (("ann", ann), ("ben", ben)):
            events = gateway.events(ChatMessage, most=10_000)
            await gateway.room(room).join()
            loops.append(asyncio.create_task(listen(events, heard[name])))
        done = asyncio.Event()
        speakers = [
            asyncio.create_task(speak(gateway, room, name, said, done)) for name, gateway in (("a", ann), ("b", ben))
        ]
        while near.dropped + far.dropped < drops:
            await asyncio.sleep(random.uniform(0, 0.02))
            random.choice((near, far)).cut()
        done.set()
        texts = [text for speaker in speakers for text in await speaker]
        # What comes twice would come before the last one.
        texts.append("the last")
        await ann.call(SendMessage(room=room, text=texts[-1]))
        await until(lambda: all(texts[-1] in each for each in heard.values()))
        assert sorted(heard["ann"]) == sorted(texts)
        assert heard["ann"] == heard["ben"]
        assert len(texts) > 200
        for loop in loops:
            loop.cancel()


async def listen(events: AsyncIterator[ChatMessage], heard: list[str]) -> None:
    async for event in events:
        heard += [str(event.text)]


async def speak(gateway: Gateway, room: str, name: str, most: int, done: asyncio.Event) -> list[str]:
    """Say one text after the other until the end. Each is said for good when its call returns."""
    texts: list[str] = []
    while not done.is_set() and len(texts) < most:
        text = f"{name}{len(texts)}"
        await gateway.call(SendMessage(room=room, text=text))
        texts.append(text)
    return texts
