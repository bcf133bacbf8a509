"""Runs commands in the shared Redis, within a limited time, and fails at once while Redis is down.

Every command has one key, so that a Redis cluster accepts it too. Scripts are sent as a whole: they are short, and a
restarted server has forgotten them.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""How long Redis may take for the commands of one round trip before it counts as down."""

Part = str | bytes | int | float
Command = tuple[Part, ...]


class RedisUnavailable(Exception):
    """Redis did not answer, or is known to be down."""


class SupportsPipeline(Protocol):
    """A redis-py client, of a server or of a cluster."""

    def pipeline(self, transaction: bool) -> Any:
        """Collect commands for one round trip."""


class RedisCommands:
    """Runs commands in Redis. After a failure, further calls fail at once until `probe` succeeds."""

    def __init__(self, client: SupportsPipeline, failures: tuple[type[Exception], ...]) -> None:
        """Use a client that raises `failures` if Redis is down or refuses."""
        self._client = client
        self._failures: tuple[type[Exception], ...] = (*failures, OSError, TimeoutError)
        self.is_up = True
        self.failures = 0
        """How often it went down."""

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip and return their answers, or raise `RedisUnavailable`.

        The answer is None if a key holds a wrong type: another program has written it.
        """
        if not self.is_up:
            raise RedisUnavailable("Redis is down")
        return await self.probe(commands)

    async def probe(self, commands: Sequence[Command]) -> list[Any]:
        """Do what `execute` does, even if Redis counts as down."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            return [_checked(answer) for answer in answers]
        except self._failures as error:
            # Not the error's text, which may quote the URL.
            raise self.mark_down(type(error).__name__) from error

    def mark_down(self, reason: str) -> RedisUnavailable:
        """Mark Redis as down, and return the exception for the caller to raise."""
        if self.is_up:
            self.is_up = False
            self.failures += 1
            logger.warning("Redis does not answer (%s): limits and presence count only this node until it does", reason)
        return RedisUnavailable(reason)

    def mark_up(self) -> None:
        """Mark Redis as up again, after this node has written its state there."""
        if not self.is_up:
            logger.info("Redis is back: limits and presence count all nodes again")
        self.is_up = True


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception) and "WRONGTYPE" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer
