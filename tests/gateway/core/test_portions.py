"""Portions of the event loop: many small pieces of work begin a few at a time, in their order."""

import asyncio
import time

from gateway.core.portions import AT_ONCE, PORTION_SECONDS, Portions

WAIT_SECONDS = 10


class Streams:
    """Streams that have a chunk at the same moment, and what they have sent in order."""

    def __init__(self) -> None:
        self.portions = Portions()
        self.sent: list[int] = []

    async def send(self, number: int) -> None:
        """Send a chunk that takes as long as a whole portion."""
        if not self.portions.begin():
            await self.portions.wait()
        self.sent.append(number)
        ends_at = time.perf_counter() + PORTION_SECONDS
        while time.perf_counter() < ends_at:
            pass


async def test_a_piece_begins_at_once_while_no_other_waits() -> None:
    portions = Portions()
    assert portions.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert portions.begin()


async def test_of_many_pieces_a_few_begin_in_each_turn_of_the_loop_in_their_order() -> None:
    streams = Streams()
    tasks = [asyncio.create_task(streams.send(number)) for number in range(20)]
    most, before = 0, 0
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            most, before = max(most, len(streams.sent) - before), len(streams.sent)
    assert streams.sent == list(range(20))
    assert most <= AT_ONCE


async def test_a_cancelled_piece_keeps_no_other_waiting() -> None:
    streams = Streams()
    tasks = [asyncio.create_task(streams.send(number)) for number in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[3].cancelled()
    assert streams.sent == [number for number in range(10) if number != 3]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert streams.portions.begin()
