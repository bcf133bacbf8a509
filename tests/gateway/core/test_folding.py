"""Repeated lines are written a few times a minute, and then only counted."""

import logging

import pytest

from gateway.core import folding
from gateway.core.folding import SECONDS, FoldedLog, Folding, LeftOut, client_log

MINUTE = 60.0


def test_the_first_lines_of_a_minute_are_written_and_the_others_are_counted() -> None:
    lines = Folding(3)
    assert [lines.admits("refused", "192.0.2.1", now) for now in range(10)] == [True] * 3 + [False] * 7
    assert lines.left_out(MINUTE - 1) == []
    assert lines.left_out(MINUTE) == [LeftOut("refused", "192.0.2.1", 7)]
    assert lines.left_out(MINUTE) == []
    assert lines.admits("refused", "192.0.2.1", MINUTE)


def test_a_count_is_not_lost_when_the_next_minute_begins_before_any_question() -> None:
    lines = Folding(1)
    assert [lines.admits("refused", "192.0.2.1", now) for now in (0, 1, MINUTE, MINUTE + 1)] == [True, False] * 2
    assert lines.left_out() == [LeftOut("refused", "192.0.2.1", 1)] * 2


def test_each_kind_and_each_address_is_counted_apart() -> None:
    lines = Folding(1)
    pairs = [(kind, address) for kind in ("refused", "ended") for address in ("192.0.2.1", "192.0.2.2", None)]
    assert all(lines.admits(*pair, 0) for pair in pairs)
    assert not any(lines.admits(*pair, 1) for pair in pairs)
    assert lines.left_out(MINUTE + 1) == [LeftOut(*pair, 1) for pair in pairs]


def test_of_a_kind_with_few_lines_nothing_is_said() -> None:
    lines = Folding(2)
    assert lines.admits("refused", None, 0)
    assert lines.admits("refused", None, 1)
    assert lines.left_out() == []


def test_a_flood_from_many_addresses_takes_no_more_memory_and_writes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MAX_PAIRS", 100)
    lines = Folding(2)
    written = sum(lines.admits("refused", f"192.0.2.{number}", 0) for number in range(10_000))
    assert written == 100 + 2
    assert len(lines._minutes) == 101
    assert lines.left_out(MINUTE) == [LeftOut("refused", None, 10_000 - written)]
    assert len(lines._minutes) == 0


def test_a_line_about_clients_comes_once_a_minute_and_ten_of_them_at_most(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    log = client_log(lambda: now)
    for _ in range(3):
        log.log("refused %s", "alice")
    assert caplog.messages == ["refused alice"]
    for number in range(100):
        log.log("refused %s", number)
    assert len(caplog.messages) == 10
    now += SECONDS
    log.log("refused %s", "alice")
    assert caplog.messages[10:] == ["left out 93 more lines like 'refused %s'", "refused alice"]


def test_a_log_with_a_flood_of_words_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MAX_PAIRS", 100)
    log = client_log(lambda: 0)
    for number in range(10_000):
        log.log("refused %s", number)
    assert len(log._same._minutes) == 101


def test_a_log_counts_each_line_apart(caplog: pytest.LogCaptureFixture) -> None:
    log = FoldedLog(logging.getLogger("tests"), logging.ERROR, same=2, now=lambda: 0)
    for number in range(10):
        log.log("the store is away: %s", ("locked", "full")[number % 2])
    assert caplog.messages == ["the store is away: locked", "the store is away: full"] * 2
