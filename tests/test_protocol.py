"""The example session of docs/protocol.md goes as printed, and so does its stream."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from handlers.streaming import Chunk, Reply
from schemas.base import Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient

PROTOCOL = (Path(__file__).parents[1] / "docs/protocol.md").read_text()
EPOCH = "yj4XTlDc"
VARIES = {"connection", "server_time", "token_expires_at", "sent_at"}


async def test_the_example_session_goes_as_printed(own_gateway: OwnGateway) -> None:
    welcome, first, second, many = re.findall(r"^```json\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    async with App(own_gateway()) as app:
        async with app.connect("carol") as carol:
            assert fixed({"type": "welcome", "data": carol.welcome}) == fixed(json.loads(welcome))
            epoch = await play(carol, first, EPOCH)
        async with app.in_room("bobby", "lobby") as bobby:
            await bobby.say("lobby", "Hi Carol", reply_to=f"{epoch}.1")
        async with app.connect("carol") as carol:
            assert await play(carol, second, epoch) == epoch
        async with app.connect("bobby") as bobby:
            await bobby.ask("room.create", room="attic", private=True)
        async with app.connect("carol") as carol:
            assert await play(carol, many, epoch) == epoch


class Story(Wire):
    """What a story is about."""

    about: str


class Told(Wire):
    """How long a story was."""

    words: int


class StoryHandler(MsgHandler[Story, Told]):
    """The handler of the example of a stream."""

    schema = Story

    async def handle(self, data: Story) -> AsyncIterator[Chunk]:
        yield "Once upon "
        yield "a time "
        yield Reply(Told(words=4))


async def test_the_example_of_a_stream_goes_as_printed(own_gateway: OwnGateway) -> None:
    [example] = re.findall(r"^```jsonl\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    async with App(own_gateway(registry={**HANDLERS, "story.tell": StoryHandler})) as app:
        async with app.connect("carol") as carol:
            asked, *answer = map(json.loads, example.splitlines())
            await carol.send(asked)
            for line in answer:
                assert await carol.next() == line
            await carol.send({**asked, "stream": False})
            assert await carol.expect("reply", id=asked["id"]) == {"text": "Once upon a time ", "words": 4}


def test_the_page_says_which_built_in_types_are_ordered() -> None:
    assert "The types of section 6 are all ordered." in PROTOCOL
    assert all(handler.ordered and not handler.streams for handler in HANDLERS.values())


async def play(client: ChatClient, conversation: str, epoch: str) -> str:
    """Send the lines of the client and expect those of the gateway; return the epoch of the room."""
    for line in conversation.splitlines():
        frame = json.loads(line.replace(EPOCH, epoch))
        if "id" in frame and "status" not in frame:
            await client.send(frame)
            continue
        seen = await client.next()
        if epoch == EPOCH:
            epoch = seen["data"]["epoch"]
            frame = json.loads(line.replace(EPOCH, epoch))
        assert fixed(seen) == fixed(frame)
    return epoch


def fixed(value: object) -> object:
    """Return a frame without the values that differ each time."""
    if isinstance(value, list):
        return [fixed(item) for item in value]
    if isinstance(value, dict):
        return {key: None if key in VARIES else fixed(item) for key, item in value.items()}
    return value
