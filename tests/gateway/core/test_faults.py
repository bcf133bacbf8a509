"""A loop that serves many contains a fault of one member, counts it, and continues."""

import asyncio

import pytest

from gateway.core import faults
from gateway.core.faults import contained

pytestmark = pytest.mark.usefixtures("fresh_faults")


def test_what_one_raises_is_counted_and_logged_and_the_others_have_their_turn(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    for number in range(4):
        with contained("numbers"):
            done.append(10 / (number - 1))
    assert done == [-10, 10, 5]
    assert faults.counters == {"numbers": 1}
    assert "the loop numbers continues" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_that_comes_again_and_again_is_logged_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    for loop in ("numbers", "letters"):
        for _ in range(1000):
            with contained(loop):
                raise ValueError(loop)
    assert faults.counters == {"numbers": 1000, "letters": 1000}
    assert len(caplog.records) == 2 * faults.LINES_A_MINUTE


async def test_a_loop_can_still_be_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        with contained("numbers"):
            raise asyncio.CancelledError
    with pytest.raises(KeyboardInterrupt):
        with contained("numbers"):
            raise KeyboardInterrupt
    assert not faults.counters
