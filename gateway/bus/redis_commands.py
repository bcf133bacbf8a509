"""The way to the Redis that all nodes share: bounded in time, and given up at once while it is down.

Every command has one key, so that a Redis cluster takes them as well. Scripts are sent whole: they are short, and a
server that has been restarted knows none.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""How long Redis may take for what it is asked at once, before it counts as down."""

Part = str | bytes | int | float
Command = tuple[Part, ...]


class RedisUnavailable(Exception):
    """Redis did not answer, or is known not to."""


class SupportsPipeline(Protocol):
    """A client of redis-py, of a server or of a cluster."""

    def pipeline(self, transaction: bool) -> Any:
        """Collect commands that go out together."""


class RedisCommands:
    """Asks Redis. When it does not answer, whoever asks next is told so at once, until `probe` finds it again."""

    def __init__(self, client: SupportsPipeline, failures: tuple[type[Exception], ...]) -> None:
        """`failures` are what the client raises when Redis is not there, or refuses."""
        self._client = client
        self._failures: tuple[type[Exception], ...] = (*failures, OSError, TimeoutError)
        self.is_up = True
        self.failures = 0
        """How often it went down."""

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Do some commands in one round trip and give their answers, or raise `RedisUnavailable`.

        The answer is None where a key holds what it should not: somebody else has written it.
        """
        if not self.is_up:
            raise RedisUnavailable("Redis is down")
        return await self.probe(commands)

    async def probe(self, commands: Sequence[Command]) -> list[Any]:
        """Do what `execute` does, even though Redis is taken to be down."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
            return [_checked(answer) for answer in answers]
        except self._failures as error:
            # Not the error's text: it may quote the URL.
            raise self.mark_down(type(error).__name__) from error

    def mark_down(self, reason: str) -> RedisUnavailable:
        """Take Redis to be down; gives the exception that says so."""
        if self.is_up:
            self.is_up = False
            self.failures += 1
            logger.warning("Redis does not answer (%s): limits and presence are this node's own until it does", reason)
        return RedisUnavailable(reason)

    def mark_up(self) -> None:
        """Note that Redis is back and that this node has said there what it had to say."""
        if not self.is_up:
            logger.info("Redis is back: limits and presence are the cluster's again")
        self.is_up = True


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception) and "WRONGTYPE" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer
