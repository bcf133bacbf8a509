"""The circuit breaker, by the clock."""

import pytest

from gateway.testing.clock import MovableClock
from gateway.upstream.breaker import MAX_OPEN_SECONDS, CircuitBreaker


@pytest.fixture
def clock() -> MovableClock:
    clock = MovableClock()
    clock.stop()
    return clock


@pytest.fixture
def breaker(clock: MovableClock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def call(breaker: CircuitBreaker, *, good: bool) -> bool | None:
    """Make a call; return whether it changed the state, or None if it may not go out."""
    period = breaker.begin()
    if period is None:
        return None
    return breaker.succeed(period) if good else breaker.fail(period)


def fail(breaker: CircuitBreaker, times: int) -> list[bool | None]:
    return [call(breaker, good=False) for _ in range(times)]


def test_five_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    assert fail(breaker, 4) == [False] * 4
    call(breaker, good=True)
    assert fail(breaker, 5) == [False] * 4 + [True]
    assert (breaker.state, breaker.seconds_left) == ("open", 1)
    assert breaker.begin() is None


def test_half_of_twenty_calls_open_it_and_older_ones_do_not_count(breaker: CircuitBreaker, clock: MovableClock) -> None:
    for _ in range(9):
        assert call(breaker, good=False) is False
        assert call(breaker, good=True) is False
    clock.ahead += 10
    for _ in range(9):
        assert call(breaker, good=False) is False
        assert call(breaker, good=True) is False
    clock.ahead += 9
    assert call(breaker, good=True) is False
    assert call(breaker, good=False) is True
    assert breaker.state == "open"


def test_many_good_calls_outweigh_failures(breaker: CircuitBreaker) -> None:
    for _ in range(100):
        for good in (True, False, True):
            assert call(breaker, good=good) is False


def test_after_a_second_one_probe_goes_out_and_its_success_closes_it(
    breaker: CircuitBreaker, clock: MovableClock
) -> None:
    fail(breaker, 5)
    clock.ahead += 0.9
    assert breaker.begin() is None
    clock.ahead += 0.1
    assert (breaker.state, breaker.seconds_left) == ("half_open", 0)
    probe = breaker.begin()
    assert probe is not None
    assert breaker.begin() is None
    assert breaker.seconds_left == 1
    assert breaker.succeed(probe) is True
    assert breaker.state == "closed"
    assert fail(breaker, 5)[-1] is True
    assert breaker.seconds_left == 1


def test_each_failed_probe_doubles_the_time_up_to_half_a_minute(breaker: CircuitBreaker, clock: MovableClock) -> None:
    fail(breaker, 5)
    waits = []
    for _ in range(7):
        waits.append(breaker.seconds_left)
        clock.ahead += breaker.seconds_left
        assert call(breaker, good=False) is True
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert MAX_OPEN_SECONDS == 30


def test_a_cancelled_probe_leaves_the_place_to_the_next(breaker: CircuitBreaker, clock: MovableClock) -> None:
    fail(breaker, 5)
    clock.ahead += 1
    probe = breaker.begin()
    assert probe is not None
    breaker.cancel(probe)
    assert call(breaker, good=True) is True


def test_what_began_before_a_change_says_nothing_after_it(breaker: CircuitBreaker, clock: MovableClock) -> None:
    old = [breaker.begin() for _ in range(3)]
    fail(breaker, 5)
    assert old[0] is not None
    assert breaker.succeed(old[0]) is False
    assert breaker.fail(old[0]) is False
    breaker.cancel(old[0])
    assert (breaker.state, breaker.seconds_left) == ("open", 1)
    clock.ahead += 1
    assert breaker.begin() is not None
    breaker.cancel(old[0])
    assert breaker.begin() is None


def test_cancelled_calls_are_neither_good_nor_bad(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    period = breaker.begin()
    assert period is not None
    breaker.cancel(period)
    assert fail(breaker, 1) == [True]


def test_failures_of_one_user_alone_do_not_open_it(breaker: CircuitBreaker, clock: MovableClock) -> None:
    def fail_for(user_id: str | None) -> bool:
        period = breaker.begin()
        assert period is not None
        return breaker.fail(period, user_id)

    for _ in range(10):
        assert not any(fail_for("alice") for _ in range(30))
        clock.ahead += 1
    assert fail_for("bob") is True
    clock.ahead += 1
    assert call(breaker, good=True) is True
    assert [fail_for(None) for _ in range(5)] == [False] * 4 + [True]


def test_a_probe_that_streams_closes_it_with_its_first_chunk(breaker: CircuitBreaker, clock: MovableClock) -> None:
    fail(breaker, 5)
    clock.ahead += 1
    probe = breaker.begin()
    assert probe is not None
    assert breaker.begin() is None
    assert breaker.hear(probe)
    assert not breaker.hear(probe)
    assert breaker.state == "closed"
    assert call(breaker, good=True) is False
    assert breaker.fail(probe) is False  # its end is old news
    assert breaker.state == "closed"
