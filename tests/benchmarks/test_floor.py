"""The measurement of the system's own part runs, at a tiny size: its figures mean nothing here."""

import asyncio

import pytest

from benchmarks.floor import measure, table_of

pytestmark = pytest.mark.server


async def test_it_measures_a_send_and_a_round_trip() -> None:
    async with asyncio.timeout(60):
        floor = await asyncio.to_thread(measure, listening=10, echoing=2, size=120, seconds=0.1)
    assert floor.send > 0
    assert floor.round_trip > 0
    assert table_of(floor, 120).row_count == 2
