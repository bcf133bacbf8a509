"""Times on the wire."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import timestamp


@pytest.mark.parametrize(
    ("milliseconds", "written"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_795_216_808_553, "2026-11-20T23:20:08.553Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(milliseconds: int, written: str) -> None:
    assert timestamp(milliseconds) == written


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_reads_as_what_it_was(milliseconds: int) -> None:
    read = datetime.fromisoformat(timestamp(milliseconds))
    assert read.tzinfo == UTC
    assert round(read.timestamp() * 1000) == milliseconds
