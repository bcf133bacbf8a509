"""Load at a pace follows the clock, and catches up after a stall."""

import asyncio
import time

import pytest

from benchmarks.pace import Pace, percentile


async def test_what_a_stall_has_prevented_is_made_up_for() -> None:
    done: list[int] = []

    def act(number: int) -> None:
        if number == 2:
            time.sleep(0.05)  # longer than the rest of it should take
        done.append(number)

    async with asyncio.timeout(30):
        pace = Pace(1000, act)
        await pace.run(0.03)
    assert done == list(range(30))
    assert pace.late[3] > 0.04
    assert min(pace.late) >= 0


@pytest.mark.parametrize(("percent", "value"), [(50, 50.0), (99, 99.0), (100, 100.0)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(percent: int, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_no_percentile_is_made_of_nothing() -> None:
    with pytest.raises(RuntimeError, match="nothing was answered"):
        percentile([], 99)
