"""Messages that grow, piece by piece."""

import asyncio
from typing import Any

import pytest

from gateway.chat.session import ChatSession
from gateway.config.settings import Settings
from gateway.core import costs
from gateway.rooms import appending
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame

LIMITS = ("message_rate", "message_burst", "message_rate_per_user", "message_rate_per_address", "write_bytes_per_user")
"""The settings that bound what a handler writes."""


class Told(Wire):
    """How a story has ended."""

    length: int
    changed: int


async def append(client: ChatClient, message: Frame, text: str, **more: Any) -> Frame:
    """Add a piece to a message, and return the answer: the reply's data, or the error."""
    number = await client.start("chat.append", room=message["room"], message_id=message["id"], text=text, **more)
    answer: Frame = await client.until(id=number)
    return answer if answer["type"] == "error" else answer["data"]


async def newest(client: ChatClient, room: str) -> Frame:
    """Return the newest message of a room, after all events that were on their way."""
    await client.heard()
    [message] = (await client.ask("chat.history", room=room, limit=1))["messages"]
    found: Frame = message
    return found


@pytest.mark.both_stores
async def test_a_piece_goes_to_the_room_and_the_message_is_longer(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as author, app.in_room(bob, room) as reader:
        await author.heard()
        message = await author.say(room, "Hello", client_id="a1")
        await reader.expect("chat.message")
        place = {"offset": message["offset"], "changed": message["offset"] + 1}
        number = await author.start("chat.append", room=room, message_id=message["id"], text=" wörld😀", at=5)
        frames = [await author.next(), await author.next()]
        reply = {"message_id": message["id"], "changed": place["changed"], "length": 12, "done": False}
        piece = {"id": message["id"], "room": room, "epoch": message["epoch"], **place, "at": 5, "text": " wörld😀"}
        assert sorted(frames, key=lambda frame: "id" in frame) == [
            {"type": "chat.appended", "data": piece},
            {"type": "reply", "id": number, "status": 20000, "data": reply},
        ]
        assert await reader.expect("chat.appended") == piece
        whole = message | {"text": "Hello wörld😀", "changed": place["changed"]}
        assert await newest(author, room) == whole
        del whole["client_id"]
        assert (await reader.ask("room.join", room=room))["messages"] == [whole]
        await reader.expect_nothing()


@pytest.mark.both_stores
async def test_pieces_of_40_ms_are_one_change_and_each_has_its_answer(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as author, app.in_room(bob, room) as reader:
        await author.heard()
        message = await author.say(room, "0")
        await reader.expect("chat.message")
        numbers = [
            await author.start("chat.append", room=room, message_id=message["id"], text=str(number), at=number)
            for number in range(1, 8)
        ]
        replies = [(await author.until(id=number))["data"] for number in numbers]
        assert [reply["length"] for reply in replies] == [2, 3, 4, 5, 6, 7, 8]
        changes = {reply["changed"] for reply in replies}
        pieces = [await reader.expect("chat.appended") for _ in changes]
        assert {piece["changed"] for piece in pieces} == changes
        assert "".join(piece["text"] for piece in pieces) == "1234567"
        assert len(changes) < 7
        assert (await newest(author, room))["text"] == "01234567"
        await reader.expect_nothing()


@pytest.mark.both_stores
async def test_a_message_that_is_done_says_so_and_grows_no_more(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "Once")
        assert (await append(author, message, " upon a time"))["done"] is False
        assert "done" not in await newest(author, room)
        assert (await append(author, message, "", at=16, done=True))["done"] is True
        assert await newest(author, room) == message | {
            "text": "Once upon a time",
            "changed": message["offset"] + 2,
            "done": True,
        }
        error = await append(author, message, "!")
        assert (error["status"], error["name"]) == (40900, "conflict")
        edited = (await author.ask("chat.edit", room=room, message_id=message["id"], text="The end"))["message"]
        assert (edited["text"], edited["done"]) == ("The end", True)
        assert (await append(author, message, "!"))["status"] == 40900


async def test_a_piece_for_another_length_is_refused_with_the_length(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "é😀")
        for at in (0, 1, 3, 6, 9007199254740992):
            error = await append(author, message, "x", at=at)
            assert error["status"] == 40900
            assert error["details"] == [{"field": "data.at", "message": "expected 2"}]
            assert "2 characters" in error["message"]
        assert (await append(author, message, "x", at=2))["length"] == 3
        await author.heard()
        await author.ask("chat.edit", room=room, message_id=message["id"], text="anew")
        await author.expect("chat.edited")
        assert (await append(author, message, "x", at=3))["details"] == [{"field": "data.at", "message": "expected 4"}]
        assert (await append(author, message, "!", at=4))["length"] == 5
        assert (await newest(author, room))["text"] == "anew!"


async def test_of_pieces_sent_at_once_the_wrong_ones_alone_are_refused(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "0")
        pieces: list[tuple[str, int, bool]] = [("a", 1, False), ("b", 9, False), ("c", 2, False), ("d", 2, False)]
        pieces += [("e", 3, True), ("f", 4, False)]
        numbers = [
            await author.start("chat.append", room=room, message_id=message["id"], text=text, at=at, done=done)
            for text, at, done in pieces
        ]
        answers = [await author.until(id=number) for number in numbers]
        assert [answer["status"] for answer in answers] == [20000, 40900, 20000, 40900, 20000, 40900]
        assert (await newest(author, room))["text"] == "0ace"


WRONG: dict[str, dict[str, Any]] = {
    "an empty text": {"text": ""},
    "an empty text that is not the last": {"text": "", "done": False},
    "a text too long": {"text": "x" * 4001},
    "no text": {},
    "a number": {"text": 7},
    "a float": {"text": "x", "at": 1.0},
    "a negative length": {"text": "x", "at": -1},
    "a length as text": {"text": "x", "at": "1"},
    "a length that is true": {"text": "x", "at": True},
    "a length beyond any": {"text": "x", "at": 2**53 + 1},
    "done as a number": {"text": "x", "done": 1},
    "a body": {"text": "x", "body": {}},
    "an unknown key": {"text": "x", "client_id": "a"},
    "no id": {"text": "x", "message_id": ""},
    "a long id": {"text": "x", "message_id": "x" * 65},
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
async def test_a_wrong_piece_is_refused_and_changes_nothing(
    app: App, alice: str, room: str, data: dict[str, Any]
) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "Hello")
        number = await author.start("chat.append", **{"room": room, "message_id": message["id"]} | data)
        await author.expect("error", id=number, status=42200)
        assert await newest(author, room) == message


async def test_only_the_author_adds_to_a_message_and_only_to_one_with_a_text(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as owner, app.in_room(bob, room) as member:
        await owner.heard()
        message = await member.say(room, "Hello")
        await owner.expect("chat.message")
        error = await append(owner, message, "x")
        assert (error["status"], error["message"]) == (40300, "only its author may add text to a message")
        body = (await member.ask("chat.send", room=room, body={"a": 1}))["message"]
        error = await append(member, body, "x")
        assert (error["status"], error["name"]) == (40900, "conflict")
        assert "`body`" in error["message"]
        await member.ask("chat.delete", room=room, message_id=message["id"])
        error = await append(member, message, "x", done=True)
        assert (error["status"], error["message"]) == (40900, "the message has been deleted meanwhile")
        for unknown in (f"{message['epoch']}.99", f"{message['epoch']}.0", "e.1", "x", "1.2.3"):
            assert (await append(member, message | {"id": unknown}, "x"))["status"] == 40400
        assert (await append(member, message | {"room": f"{room}-nowhere"}, "x"))["status"] == 40400
        assert [frame["type"] for frame in await owner.heard()] == ["chat.message", "chat.deleted"]


async def test_a_user_that_has_left_or_was_kicked_adds_nothing(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as owner, app.in_room(bob, room) as member:
        await owner.heard()
        message = await member.say(room, "Hello")
        assert (await append(member, message, " all"))["length"] == 9
        await owner.heard()
        number = await member.start("chat.append", room=room, message_id=message["id"], text=" late")
        await owner.ask("room.kick", room=room, user=bob)
        answer = await member.until(id=number)
        assert answer["status"] in {20000, 40301}
        late = " late" if answer["status"] == 20000 else ""
        await member.heard()
        assert (await append(member, message, "x"))["status"] == 40301
        await member.ask("room.join", room=room)
        assert (await append(member, message, "!"))["length"] == 10 + len(late)
        await member.heard()
        await member.ask("room.leave", room=room)
        assert (await append(member, message, "x"))["status"] == 40301
        await owner.heard()
        assert (await newest(owner, room))["text"] == f"Hello all{late}!"


async def test_a_text_grows_to_32_000_characters(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "😀" * 4000)
        for number in range(1, 7):
            assert (await append(author, message, "😀" * 4000, at=4000 * number))["length"] == 4000 * (number + 1)
        error = await append(author, message, "x" * 4000 + "x")
        assert error["status"] == 42200
        assert (await append(author, message, "\x01" * 3999))["length"] == 31_999
        error = await append(author, message, "ab")
        assert (error["status"], error["name"]) == (41300, "too_large")
        assert "at most 32000 characters, got 32001" in error["message"]
        assert (await append(author, message, "a"))["length"] == 32_000
        assert (await append(author, message, "", done=True))["length"] == 32_000
        whole = await newest(author, room)
        assert len(whole["text"]) == 32_000
        assert (await author.ask("room.join", room=room))["messages"] == [whole]


async def test_two_connections_of_one_user_add_to_one_message(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as phone, app.in_room(alice, room) as laptop:
        message = await phone.say(room, ":")
        await laptop.heard()

        async def flow(client: ChatClient, letter: str) -> list[int]:
            return [(await append(client, message, letter))["length"] for _ in range(5)]

        lengths = await asyncio.gather(flow(phone, "a"), flow(laptop, "b"))
        assert sorted(lengths[0] + lengths[1]) == list(range(2, 12))
        text = (await newest(phone, room))["text"]
        assert (text[0], sorted(text[1:])) == (":", sorted("aaaaabbbbb"))
        error = await append(laptop, message, "c", at=6)
        assert error["details"] == [{"field": "data.at", "message": "expected 11"}]


async def test_a_repeated_send_returns_the_message_as_it_has_grown(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "Hello", client_id="a1")
        await append(author, message, " all", done=True)
        await author.heard()
        again = await author.ask("chat.send", room=room, text="Hello", client_id="a1")
        assert again["duplicate"] is True
        assert (again["message"]["text"], again["message"]["done"]) == ("Hello all", True)
        await author.expect_nothing()


@pytest.mark.parametrize("window", [0, 100])
async def test_a_client_that_comes_back_gets_the_whole_message_and_then_goes_on(
    own_gateway: OwnGateway, window: int
) -> None:
    async with App(own_gateway(room_window_messages=window)) as app, app.in_room("alice", "lobby") as author:
        message = await author.say("lobby", "a", client_id="c1")
        await append(author, message, "b")
        async with app.connect("bob") as reader:
            [seen] = (await reader.ask("room.join", room="lobby"))["messages"]
            position = {"epoch": seen["epoch"], "offset": seen["changed"]}
            assert seen["text"] == "ab"
        await append(author, message, "c")
        await append(author, message, "d", at=3)
        async with app.connect("bob") as reader, app.connect("alice") as again:
            joined = await reader.ask("room.join", room="lobby", since=position)
            [event] = joined["events"]
            assert (joined["recovered"], event["type"]) == (True, "chat.edited")
            whole = event["data"]
            assert whole == seen | {"text": "abcd", "changed": seen["changed"] + 2}
            own = (await again.ask("room.join", room="lobby", since=position))["events"][0]["data"]
            assert own == whole | {"client_id": "c1"}
            await append(author, message, "e", done=True)
            piece = await reader.expect("chat.appended", at=4, text="e", changed=whole["changed"] + 1, done=True)
            assert piece["at"] == len(whole["text"])
            await again.expect("chat.appended")
            resumed = await reader.ask("room.resume", rooms=[{"room": "lobby", "since": position}])
            [event] = resumed["rooms"][0]["events"]
            assert event["data"] == seen | {"text": "abcde", "changed": whole["changed"] + 1, "done": True}
            await reader.expect_nothing()


@pytest.mark.both_stores
async def test_what_a_message_grows_by_counts_for_the_quotas(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_stored_bytes_per_user=600)) as app, app.in_room("alice", "lobby") as author:
        message = await author.say("lobby", "x" * 50)
        assert (await append(author, message, "y" * 350))["length"] == 400
        error = await append(author, message, "z")
        assert (error["status"], error["name"]) == (40302, "quota_exceeded")
        assert (await append(author, message, "", done=True))["length"] == 400
        await author.heard()
        await author.ask("chat.delete", room="lobby", message_id=message["id"])
        await author.expect("chat.deleted")
        await author.say("lobby", "z" * 200)


async def test_pieces_are_written_bytes_but_not_a_row_each(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(write_bytes_per_user=100)
    async with App(gateway) as app, app.in_room("alice", "lobby") as author:
        gateway.clock.stop()
        message = await author.say("lobby", "x" * 100)  # of a thousand
        numbers = [
            await author.start("chat.append", room="lobby", message_id=message["id"], text="y" * 10) for _ in range(20)
        ]
        answers = [(await author.until(id=number))["status"] for number in numbers]
        assert answers == [20000] * 20, "a row for each would be 4,200 bytes"
        text = "z" * 1000
        assert (await append(author, message, text))["length"] == 1300
        error = await append(author, message, "z")
        assert (error["status"], error["name"]) == (42900, "rate_limited")
        assert (await newest(author, "lobby"))["text"].endswith(text)


async def test_a_piece_that_joins_others_pays_for_the_bytes_that_it_adds_to_their_event(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = own_gateway(message_burst=1000)
    async with App(gateway) as app, app.in_room("alice", "lobby") as author:
        message = await author.say("lobby", "x")
        charged: list[float] = []
        monkeypatch.setattr(ChatSession, "charge", lambda _, cost: charged.append(cost))
        monkeypatch.setattr(gateway.state.hub, "subscriber_count", lambda _: 250)
        monkeypatch.setattr(appending, "GROUP_SECONDS", 5)
        numbers = [
            await author.start("chat.append", room="lobby", message_id=message["id"], text=text, done=text != "y")
            for text in ("y", "😀" * 2048)
        ]
        for number in numbers:
            await author.until(id=number)
        assert charged == [pytest.approx(1, abs=0.01), 8192 / costs.MESSAGE_BYTES + 8192 / costs.DELIVERED_BYTES]


@pytest.mark.both_stores
async def test_characters_are_code_points_and_half_an_emoji_is_refused(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "e")
        family = "👨‍👩‍👧"  # three emoji, and two joiners between them
        assert (await append(author, message, "\u0301", at=1))["length"] == 2  # an accent for the letter before it
        assert (await append(author, message, family, at=2))["length"] == 7
        await author.heard()
        place = f'"room":"{room}","message_id":"{message["id"]}"'
        for half in ("\\ud83d", "\\ude00"):
            await author.send(f'{{"type":"chat.append","id":"half","data":{{{place},"text":"{half}"}}}}')
            await author.expect("error", id=None, status=40000)
        assert (await append(author, message, "\u00e9", at=7, done=True))["length"] == 8
        assert (await newest(author, room))["text"] == "e\u0301" + family + "\u00e9"


async def test_a_piece_holds_up_nothing_and_bye_waits_for_its_answer(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "a")
        piece = {"room": room, "message_id": message["id"]}
        first = await author.start("chat.append", text="b", **piece)
        await author.ask("ping")
        last = await author.start("chat.append", text="c", **piece)
        bye = await author.start("bye")
        answers = set()
        while (frame := await author.next())["type"] != "bye":
            answers.add(frame.get("id"))
        assert {first, last, bye} <= answers


async def test_pieces_an_edit_and_a_deletion_happen_in_the_order_of_their_messages(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as author, app.in_room(bob, room) as reader:
        await author.heard()
        message = await author.say(room, "a")
        piece = {"room": room, "message_id": message["id"]}
        await author.start("chat.append", text="b", **piece)
        await author.start("chat.append", text="c", **piece)
        await author.start("chat.edit", text="new", **piece)
        await author.start("chat.append", text="er", **piece)
        await author.start("chat.delete", **piece)
        late = await author.start("chat.append", text="!", **piece)
        assert (await author.until(id=late))["status"] == 40900
        events = [(frame["type"], frame["data"].get("text")) for frame in await reader.heard()]
        assert events == [
            ("chat.message", "a"),
            ("chat.appended", "bc"),
            ("chat.edited", "new"),
            ("chat.appended", "er"),
            ("chat.deleted", None),
        ]


async def test_600_pieces_at_once_are_answered_one_by_one_and_stored_in_their_order(own_gateway: OwnGateway) -> None:
    limits = {"message_rate": 0, "message_rate_per_user": 0, "message_rate_per_address": 0}
    async with App(own_gateway(**limits)) as app, app.in_room("alice", "lobby") as author:
        message = await author.say("lobby", "-")
        piece = {"room": "lobby", "message_id": message["id"]}
        numbers = [await author.start("chat.append", text=f"{number} ", **piece) for number in range(600)]
        last = await author.start("ping")
        answers: dict[int, Frame] = {}
        events: list[Frame] = []
        while len(answers) < 601:
            frame = await author.next()
            if "id" in frame:
                assert frame["status"] == 20000
                answers[frame["id"]] = frame["data"]
            else:
                events.append(frame["data"])
        assert list(answers) == sorted(answers) or last in answers
        lengths = [answers[number]["length"] for number in numbers]
        assert lengths == sorted(lengths)
        whole = "".join(f"{number} " for number in range(600))
        assert "".join(event["text"] for event in events) == whole
        assert len(events) < 60
        assert (await newest(author, "lobby"))["text"] == f"-{whole}"


async def test_over_the_message_rate_pieces_are_refused_and_the_others_stay(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=50, message_burst=100)
    async with App(gateway) as app, app.in_room("alice", "lobby") as author, app.in_room("bob", "lobby") as reader:
        await author.heard()
        gateway.clock.stop()
        message = await author.say("lobby", "-")
        piece = {"room": "lobby", "message_id": message["id"]}
        numbers = [await author.start("chat.append", text="x", **piece) for _ in range(300)]
        answers: dict[int, int] = {}
        while len(answers) < 300:
            frame = await author.next()
            if "id" in frame:
                answers[frame["id"]] = frame["status"]
        statuses = [answers[number] for number in numbers]
        assert set(statuses) == {20000, 42900}
        assert len((await newest(reader, "lobby"))["text"]) == 1 + statuses.count(20000)


async def test_600_tokens_of_a_second_are_one_message_and_25_changes(own_gateway: OwnGateway) -> None:
    limits = {"message_rate": 0, "message_rate_per_user": 0, "message_rate_per_address": 0}
    async with App(own_gateway(**limits)) as app, app.in_room("alice", "lobby") as author:
        message = await author.say("lobby", "-")
        before = asyncio.get_running_loop().time()
        numbers = []
        for number in range(600):
            numbers.append(
                await author.start(
                    "chat.append", room="lobby", message_id=message["id"], text="token ", at=1 + 6 * number
                )
            )
            await asyncio.sleep(1 / 600)
        changes = set()
        answers = 0
        while answers < 600:
            frame = await author.next()
            if "id" in frame:
                assert frame["status"] == 20000, frame
                changes.add(frame["data"]["changed"])
                answers += 1
        seconds = asyncio.get_running_loop().time() - before
        assert len(changes) <= seconds / 0.04 + 2
        whole = await newest(author, "lobby")
        assert (whole["text"], whole["changed"]) == ("-" + "token " * 600, 1 + len(changes))
        assert (await author.ask("room.join", room="lobby"))["offset"] == 1 + len(changes)


class Tell(Wire):
    """Stream a story into a room."""

    room: str


class TellHandler(MsgHandler[Tell, Told]):
    """Streams a story of 600 words, as the tokens of a model come."""

    schema = Tell

    async def handle(self, data: Tell) -> Told:
        """Return how the story has ended."""
        messages = self.session.messages
        sent = await messages.send(data.room, text="0", body=None, reply_to=None, client_id=None)
        for number in range(1, 601):
            await messages.begin_append(data.room, sent.message.id, f" {number}")
            await asyncio.sleep(1 / 600)
        last = await messages.append(data.room, sent.message.id, "", done=True)
        return Told(length=last.length, changed=last.changed)


async def test_a_handler_streams_600_tokens_within_the_default_limits(own_gateway: OwnGateway) -> None:
    limits = {name: Settings.model_fields[name].default for name in LIMITS}
    gateway = own_gateway(registry={**HANDLERS, "story.tell": TellHandler}, **limits)
    async with App(gateway) as app, app.in_room("alice", "lobby") as author:
        number = await author.start("story.tell", room="lobby")
        answer = await author.until(id=number)
        assert answer["status"] == 20000, answer
        whole = await newest(author, "lobby")
        assert whole["text"] == " ".join(map(str, range(601)))
        assert (whole["done"], whole["changed"]) == (True, answer["data"]["changed"])
        assert len(whole["text"]) == answer["data"]["length"]
        assert (await append(author, whole, "!"))["status"] == 40900


async def test_over_http_a_piece_is_answered_once_it_is_stored(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "a")
        token, piece = await app.token(alice), {"room": room, "message_id": message["id"], "text": "b", "at": 1}
        answer = await app.ask("POST", "/call/chat.append", token, json=piece)
        assert (answer.status_code, answer.json()["length"]) == (200, 2)
        await author.expect("chat.appended", at=1, text="b")
        answer = await app.ask("POST", "/call/chat.append", token, json=piece)
        assert (answer.status_code, answer.json()["details"][0]["message"]) == (409, "expected 2")


async def test_no_cancel_takes_a_piece_back(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as author:
        message = await author.say(room, "a")
        piece = await author.start("chat.append", room=room, message_id=message["id"], text="b")
        cancel = await author.start("cancel", id=piece)
        answers: dict[int, int] = {}
        while len(answers) < 2:
            frame = await author.next()
            if "id" in frame:
                answers[frame["id"]] = frame["status"]
        assert answers == {cancel: 40400, piece: 20000}
        assert (await newest(author, room))["text"] == "ab"


async def test_what_grows_is_read_or_unread_as_before(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as author, app.in_room(bob, room) as reader:
        await author.heard()
        message = await author.say(room, "a")
        await reader.heard()

        async def unread() -> int:
            listed = (await reader.ask("room.list", limit=100, cursor=room[:-1]))["rooms"]
            number: int = next(each["unread"] for each in listed if each["name"] == room)
            return number

        assert await unread() == 1
        await append(author, message, "b")
        await reader.heard()
        assert await unread() == 1
        await reader.ask("chat.read", room=room, offset=message["offset"])
        await reader.heard()
        await append(author, message, "c", done=True)
        await reader.heard()
        assert await unread() == 0
