"""`assistant.ask`: a prompt in a room, answered for all of its members."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import Field

from gateway.publishing import MessageSender
from handlers import Chunk, MsgHandler, Registry, Reply
from schemas.base import Wire
from schemas.names import RoomName

from .answers import Answer
from .completions import AssistantBusy, AssistantUnavailable, Completions

MAX_ANSWER = 8000
"""The most characters of an answer. The whole must fit into one frame for a client that asks for no stream."""


@dataclass(frozen=True)
class Assistant:
    """What the handlers share: the service that answers, and the sender of the answers."""

    completions: Completions
    sender: MessageSender


class Ask(Wire):
    """Ask the assistant in a room."""

    room: RoomName
    prompt: str = Field(min_length=1, max_length=4000)


class Answered(Wire):
    """The prompt as a message, and the answer. Without a word of the model, there is no answer."""

    prompt_id: str
    message_id: str | None = None


class AskHandler(MsgHandler[Ask, Answered, Assistant]):
    """Streams the answer to the asker, and lets it grow in the room."""

    schema = Ask
    scope = "chat:write"
    examples = ({"room": "lobby", "prompt": "Tea or coffee?"},)

    async def handle(self, data: Ask) -> AsyncIterator[Chunk]:
        """Send the prompt to the room, and yield the answer piece by piece.

        At its end, the message in the room is finished with what has come. That holds for a cancelled call too, for a
        client that is gone, and for a service that fails.
        """
        sent = await self.session.messages.send(data.room, text=data.prompt, body=None, reply_to=None, client_id=None)
        assistant = self.session.state
        answer = Answer(assistant.sender, data.room, sent.message.id)
        try:
            async with aclosing(assistant.completions.stream(data.prompt)) as pieces:
                async for piece in pieces:
                    text = piece[: MAX_ANSWER - answer.length]
                    answer.add(text)
                    yield text
                    if answer.length == MAX_ANSWER:
                        break
        finally:
            await answer.finish()
        yield Reply(Answered(prompt_id=sent.message.id, message_id=answer.message_id))


registry = Registry(handlers={"assistant.ask": AskHandler}, errors=(AssistantUnavailable, AssistantBusy))
