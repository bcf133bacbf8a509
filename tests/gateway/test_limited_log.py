"""Lines that clients cause reach the operator, and cannot fill the disk."""

import pytest

from gateway.limited_log import MAX_LINES, WINDOW_SECONDS, LimitedLog


def test_a_line_comes_once_a_minute_and_ten_of_them_at_most(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    log = LimitedLog(lambda: now)
    for _ in range(3):
        log.warning("refused %s", "alice")
    assert caplog.messages == ["refused alice"]
    for number in range(100):
        log.warning("refused %s", number)
    assert len(caplog.messages) == MAX_LINES
    now += WINDOW_SECONDS
    log.warning("refused %s", "alice")
    assert caplog.messages[MAX_LINES:] == ["left out 93 lines like those before, of the last minutes", "refused alice"]
