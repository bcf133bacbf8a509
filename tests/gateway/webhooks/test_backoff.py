"""The times between attempts: from five seconds to three days, each with some chance."""

import random

import pytest

from gateway.webhooks.backoff import DELAYS, JITTER, delay_after


def test_the_delays_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)
    assert [delay_after(failures) for failures in range(1, 10)] == [*map(float, DELAYS), None]
    assert (DELAYS[0], DELAYS[-1]) == (5, 3 * 24 * 3600)


def test_events_do_not_come_back_all_at_once() -> None:
    delays = {delay_after(1) for _ in range(100)}
    assert len(delays) > 50
    assert all(5 <= (delay or 0) <= 5 * (1 + JITTER) for delay in delays)
