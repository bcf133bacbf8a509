"""The example as a reader runs it: `gateway serve --app`, clients, and a service in place of a language model."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn

from examples.assistant import stand_in
from gateway.cli.serve import listen
from gateway.testing import Gateway
from gateway.testing.server import serving as serving_here
from tests.gateway.cli.command import Served, serving
from tests.support.child import free_port
from tests.support.client import App, ChatClient, Frame
from tests.support.upstreams import Behaviour, Conversation, Upstream, answering, hanging, running_upstream, writing

pytestmark = pytest.mark.server

EXAMPLE = Path(__file__).parents[3] / "examples/assistant"
KEY = "sk-the-key-of-the-service"
SENDER = "service:assistant"
WAIT_SECONDS = 20


@pytest.fixture(scope="module")
def port() -> int:
    """The port of the service. Each test runs another one there."""
    return free_port()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Served]:
    """The example, copied to another place: it works under any name."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "helper")
    variables: dict[str, Any] = {
        "ASSISTANT_URL": f"http://127.0.0.1:{port}/v1",
        "ASSISTANT_MODEL": "tiny",
        "ASSISTANT_KEY": KEY,
        "ASSISTANT_SECONDS": "1.5",
    }
    with serving(folder, "--app", "helper.app:app", **variables) as served:
        yield served


@pytest.fixture
async def app(served: Served) -> AsyncIterator[App]:
    """An app that uses it."""
    async with App(cast(Gateway, served)) as app:
        yield app


class Model:
    """A service that says what the test lets it say, and notices when its client is gone."""

    def __init__(self) -> None:
        self._conversation: Conversation | None = None
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def behave(self, client: Conversation) -> None:
        """Begin an answer, and wait for the end of the connection."""
        await client.request()
        await client.write(HEAD)
        self._conversation = client
        self.asked.set()
        try:
            await client.head()
        finally:
            self.left.set()

    async def say(self, *pieces: str) -> None:
        """Say something once the request is there."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.asked.wait()
        assert self._conversation is not None
        await self._conversation.write(b"".join(map(part, pieces)))

    async def end(self) -> None:
        """Finish the answer."""
        assert self._conversation is not None
        await self._conversation.write(DONE)

    async def expect_left(self) -> None:
        """Wait until the client has closed its connection."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.left.wait()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def part(text: str | None) -> bytes:
    """Return one event of the service's stream."""
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n".encode()


@asynccontextmanager
async def running(behave: Behaviour, port: int) -> AsyncIterator[Upstream]:
    """Run a service at the address of the settings."""
    async with running_upstream(behave, port=port) as upstream:
        yield upstream


async def ask(client: ChatClient, room: str, prompt: str = "Tea?", *, stream: bool = True) -> int:
    """Send a prompt, and return the id of the message."""
    await client.send({"type": "assistant.ask", "id": 100, "stream": stream, "data": {"room": room, "prompt": prompt}})
    return 100


async def read(client: ChatClient, last: Any) -> list[Frame]:
    """Take frames until one for which `last` holds."""
    frames = []
    while True:
        frames.append(await client.next())
        if last(frames[-1]):
            return frames


def is_answer(frame: Frame) -> bool:
    return frame["type"] in {"reply", "error"} and frame["id"] == 100


def is_begun(frame: Frame) -> bool:
    return bool(frame["type"] == "chat.message" and frame["data"]["sender"] == SENDER)


def is_done(frame: Frame) -> bool:
    return frame["type"] == "chat.appended" and bool(frame["data"].get("done"))


def chunks(frames: list[Frame]) -> str:
    """Join the chunks. Their numbers must have no gap."""
    found = [frame for frame in frames if frame["type"] == "chunk"]
    assert [frame["seq"] for frame in found] == list(range(1, len(found) + 1))
    return "".join(frame["data"] for frame in found)


def grown(frames: list[Frame]) -> str:
    """Return the assistant's message as the events tell it."""
    text = ""
    for frame in frames:
        if frame["type"] == "chat.message" and frame["data"]["sender"] == SENDER:
            text = frame["data"]["text"]
        elif frame["type"] == "chat.appended":
            assert frame["data"]["at"] == len(text)
            text += frame["data"]["text"]
    return text


async def stored(client: ChatClient, room: str) -> list[Frame]:
    """Return the messages of a room."""
    await client.heard()
    messages: list[Frame] = (await client.ask("chat.history", room=room))["messages"]
    return messages


async def test_a_prompt_is_answered_for_all_in_the_room_while_the_words_come(
    app: App, port: int, room: str, alice: str, bob: str
) -> None:
    model = Model()
    async with running(model.behave, port) as service, app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        await ask(ann, room, "Tea or coffee?")
        assert (await ben.expect("chat.message", sender=alice))["text"] == "Tea or coffee?"
        await model.say("Tea")
        begun = await ben.expect("chat.message", sender=SENDER, text="Tea")
        await model.say(", ", "of ", "course.")
        await model.end()
        seen = await read(ben, is_done)
        told = await read(ann, is_answer)
        assert chunks(told) == "Tea, of course."
        assert told[-1]["data"]["message_id"] == begun["id"]
        assert grown([{"type": "chat.message", "data": begun}, *seen]) == "Tea, of course."
        prompt, answer = await stored(ben, room)
        assert (answer["text"], answer["done"], answer["reply_to"]) == ("Tea, of course.", True, prompt["id"])
        [request] = service.requests
        assert request.head.startswith(b"POST /v1/chat/completions ")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert (request.json["model"], request.json["stream"]) == ("tiny", True)
        assert request.json["messages"][-1] == {"role": "user", "content": "Tea or coffee?"}


async def test_the_service_in_place_of_a_model_repeats_the_prompt(
    app: App, port: int, room: str, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "WORD_SECONDS", 0)
    config = uvicorn.Config(stand_in.app, log_level="warning")
    with serving_here(config, listen("127.0.0.1", port)):
        async with app.in_room(alice, room) as ann:
            await ask(ann, room, "Tea or coffee?")
            assert chunks(await read(ann, is_answer)) == "You said: Tea or coffee? "


async def test_a_client_that_resumes_in_the_middle_has_the_whole_message(
    app: App, port: int, room: str, alice: str, bob: str
) -> None:
    model = Model()
    async with running(model.behave, port), app.in_room(alice, room) as ann:
        async with app.in_room(bob, room) as ben:
            await ask(ann, room)
            await model.say("one ")
            begun = (await read(ben, is_begun))[-1]["data"]
        await model.say("two ")
        await read(ann, lambda frame: frame["type"] == "chat.appended")
        async with app.connect(bob) as back:
            since = {"epoch": begun["epoch"], "offset": begun["changed"]}
            joined = await back.ask("room.join", room=room, since=since)
            assert joined["recovered"]
            assert "one two " in json.dumps(joined)
            await model.say("three")
            await model.end()
            await read(back, is_done)
            [_, answer] = await stored(back, room)
            assert (answer["text"], answer["done"]) == ("one two three", True)


async def test_cancel_stops_the_service_and_finishes_the_message_with_what_came(
    app: App, port: int, room: str, alice: str, bob: str
) -> None:
    model = Model()
    async with running(model.behave, port), app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ask(ann, room)
        await model.say("one ", "two")
        await read(ann, lambda frame: frame["type"] == "chunk" and frame["data"].endswith("two"))
        await ann.send({"type": "cancel", "id": 101, "data": {"id": 100}})
        answer = (await read(ann, is_answer))[-1]
        assert (answer["status"], answer["name"]) == (49900, "cancelled")
        await model.expect_left()
        await read(ben, is_done)
        assert (await stored(ben, room))[-1]["text"] == "one two"
        assert chunks(await ann.heard()) == ""


async def test_an_asker_that_is_gone_stops_the_service_too(
    app: App, port: int, room: str, alice: str, bob: str
) -> None:
    model = Model()
    async with running(model.behave, port), app.in_room(bob, room) as ben:
        async with app.in_room(alice, room) as ann:
            await ask(ann, room)
            await model.say("one")
            await read(ann, lambda frame: frame["type"] == "chunk")
        await model.expect_left()
        await read(ben, is_done)
        assert (await stored(ben, room))[-1]["text"] == "one"


@pytest.mark.parametrize(
    ("behave", "error", "text"),
    [
        (None, "assistant_unavailable", ""),
        (hanging, "assistant_unavailable", ""),
        (answering({"error": {"message": KEY}}, 429), "assistant_busy", ""),
        (answering({"error": {"message": KEY}}, 500), "assistant_unavailable", ""),
        (answering({"choices": []}), "assistant_unavailable", ""),
        (writing(HEAD + part("one") + b"data: <html>\n\n"), "assistant_unavailable", "one"),
        (
            writing(HEAD + part("one") + b'data: {"error": {"message": "overloaded"}}\n\n'),
            "assistant_unavailable",
            "one",
        ),
        (writing(HEAD + part("one") + b"data: " + b"x" * 100_000), "assistant_unavailable", "one"),
        (writing(HEAD + part("one")), "assistant_unavailable", "one"),
    ],
    ids=["down", "slow", "429", "500", "no stream", "rubbish", "an error", "a long line", "silent in the middle"],
)
async def test_a_service_that_fails_is_told_without_its_words_and_what_came_stays(
    app: App, served: Served, port: int, room: str, alice: str, behave: Behaviour | None, error: str, text: str
) -> None:
    async with app.in_room(alice, room) as ann:
        if behave is None:
            await ask(ann, room)
            frames = await read(ann, is_answer)
        else:
            async with running(behave, port):
                await ask(ann, room)
                frames = await read(ann, is_answer)
        assert (frames[-1]["name"], frames[-1]["retryable"]) == (error, True)
        assert chunks(frames) == text
        prompt, *answers = await stored(ann, room)
        assert prompt["text"] == "Tea?"
        assert [(answer["text"], answer["done"]) for answer in answers] == ([(text, True)] if text else [])
    assert KEY not in served.output.text


async def test_an_answer_that_ends_in_the_middle_is_told(app: App, port: int, room: str, alice: str) -> None:
    async def behave(client: Conversation) -> None:
        await client.request()
        await client.write(HEAD + part("one "))

    async with running(behave, port), app.in_room(alice, room) as ann:
        await ask(ann, room)
        frames = await read(ann, is_answer)
        assert (frames[-1]["name"], chunks(frames)) == ("assistant_unavailable", "one ")
        assert (await stored(ann, room))[-1]["done"]


async def test_a_client_without_streams_gets_the_whole_and_an_endless_answer_is_cut(
    app: App, port: int, room: str, alice: str
) -> None:
    async def behave(client: Conversation) -> None:
        await client.request()
        await client.write(HEAD)
        while True:
            await client.write(part("ä" * 3000))

    async with running(behave, port), app.in_room(alice, room) as ann:
        await ask(ann, room, stream=False)
        reply = (await read(ann, is_answer))[-1]
        assert reply["data"]["text"] == "ä" * 8000
        assert (await stored(ann, room))[-1]["text"] == "ä" * 8000


async def test_only_members_ask(app: App, port: int, room: str, alice: str, bob: str) -> None:
    async with app.in_room(alice, room), app.connect(bob) as ben:
        await ask(ben, room)
        assert (await read(ben, is_answer))[-1]["status"] == 40301


async def test_an_answer_that_is_deleted_in_the_middle_stops(app: App, port: int, room: str, alice: str) -> None:
    model = Model()
    async with running(model.behave, port), app.connect(alice) as ann:
        await ann.ask("room.create", room=room)
        await ann.ask("room.join", room=room)
        await ask(ann, room)
        await model.say("one")
        begun = (await read(ann, is_begun))[-1]
        await ann.start("chat.delete", room=room, message_id=begun["data"]["id"])
        await read(ann, lambda frame: frame["type"] == "chat.deleted")
        await model.say("two")
        await read(ann, lambda frame: frame["type"] == "chunk" and frame["data"] == "two")
        await model.say("three")
        answer = (await read(ann, is_answer))[-1]
        assert (answer["type"], answer["status"]) == ("error", 40900)
        await model.expect_left()
