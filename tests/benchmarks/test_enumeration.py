"""The measurement of refused log-ins runs, at a tiny size: its figures mean nothing here."""

import pytest

from benchmarks.enumeration import KINDS, measure, table_of

pytestmark = pytest.mark.server


async def test_it_measures_every_kind_of_password() -> None:
    results = await measure(log_ins=24, rounds=4)
    assert [result.kind for result in results] == list(KINDS)
    assert all(result.known > 0 and result.unknown > 0 for result in results)
    assert table_of(results).row_count == len(KINDS)
