"""Handlers that stream: `benchmarks.streams` has them by `GATEWAY_REGISTRY`, and `benchmarks.inside` as they are."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks.talk import TEXT as SENTENCE
from handlers import Chunk, MsgHandler, Registry
from schemas.base import Empty, Event, Wire

WORD = " quick"
"""A token of a language model makes them, with its JSON around it some 50 bytes."""
TEXT = (SENTENCE.decode() * 7)[:280]


class Tokens(Wire):
    """How many tokens to send, and how many a second. 0 a second means without a wait."""

    count: int
    per_second: float = 0


class TokensHandler(MsgHandler[Tokens, Empty]):
    """Streams tokens as a language model does."""

    schema = Tokens

    async def handle(self, data: Tokens) -> AsyncIterator[Chunk]:
        """Yield each token at its time: a wait that came late shortens the next one."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(data.count):
            if data.per_second:
                await asyncio.sleep(began + number / data.per_second - loop.time())
            yield WORD


class ChunksHandler(MsgHandler[Tokens, Empty]):
    """Streams texts of the size of an event, one in each turn of the loop."""

    schema = Tokens

    async def handle(self, data: Tokens) -> AsyncIterator[Chunk]:
        """Yield each text."""
        for _ in range(data.count):
            await asyncio.sleep(0)
            yield TEXT


class Said(Event):
    """An event with the same text."""

    type = "said"

    text: str


class EventsHandler(MsgHandler[Tokens, Empty]):
    """Sends as many events in the same way."""

    schema = Tokens
    ordered = False

    async def handle(self, data: Tokens) -> Empty:
        """Send each event."""
        for _ in range(data.count):
            await asyncio.sleep(0)
            self.session.send_event(Said(text=TEXT))
        return Empty()


REGISTRY = Registry(
    handlers={"tokens": TokensHandler, "chunks": ChunksHandler, "events": EventsHandler}, events=(Said,)
)
