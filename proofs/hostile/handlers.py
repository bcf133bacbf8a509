"""A type whose answer streams, for clients that ask for it and cancel it."""

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel, ConfigDict

from handlers import Chunk, MsgHandler, Registry
from schemas.base import Empty


class Count(BaseModel):
    """How far to count."""

    model_config = ConfigDict(extra="forbid")

    most: int


class CountHandler(MsgHandler[Count, Empty]):
    """Count up slowly."""

    schema = Count

    async def handle(self, data: Count) -> AsyncIterator[Chunk]:
        """Yield the numbers."""
        for number in range(data.most):
            yield f"{number} "
            await asyncio.sleep(0.05)


registry = Registry(handlers={"count.slowly": CountHandler})
