"""The hostile clients of one attack at a time, in a process of their own."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop

from proofs.child import serve
from proofs.hostile.attacks import ATTACKS, Hostile, Life
from proofs.process import raise_limit_of_files

POLITENESS = 5

RETURN_SECONDS = 0.5
"""After which a hostile client comes back when it is cut off."""


async def all_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for cancelled tasks, and raise what one of them has failed with: a hostile client that has broken down."""
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, BaseException) and not isinstance(found, asyncio.CancelledError):
            raise found


class Attackers:
    """The hostile clients of one attack at a time."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._tasks: list[asyncio.Task[None]] = []
        self._hostile = self._new()

    def _new(self) -> Hostile:
        return Hostile(self._orders["port"], self._orders["tokens"], self._orders["room"])

    async def answer(self, line: str) -> object:
        """Begin the attack of this name, or end it and return its counts."""
        if line == "rest":
            for task in self._tasks:
                task.cancel()
            await all_ended(self._tasks)
            return self._hostile.counts
        attack = ATTACKS[line]
        self._hostile = self._new()
        self._tasks = [asyncio.create_task(self._keep(attack.live, number)) for number in range(attack.clients)]
        return {}

    async def _keep(self, live: Life, number: int) -> None:
        hostile = self._hostile
        # Not all at the same moment, which would be another attack.
        await asyncio.sleep(number * 0.01)
        while True:
            try:
                await live(hostile, number)
                hostile.counts["gave up"] += 1
            except (OSError, EOFError, TimeoutError):
                hostile.counts["cut off or refused"] += 1
            await asyncio.sleep(RETURN_SECONDS)


async def _begin(orders: dict[str, Any]) -> Callable[[str], Awaitable[object]]:
    raise_limit_of_files()
    os.nice(POLITENESS)
    return Attackers(orders).answer


if __name__ == "__main__":
    uvloop.run(serve(_begin))
