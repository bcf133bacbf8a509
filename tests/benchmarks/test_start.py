"""The measurement of a start runs once: its figures mean nothing here."""

import pytest

from benchmarks.start import STARTS, measure, table_of

pytestmark = pytest.mark.server


def test_it_measures_an_import_and_a_start() -> None:
    starts = [STARTS[0], STARTS[1], STARTS[3]]
    costs = measure(starts, rounds=1)
    assert list(costs) == ["tutorial: import", "tutorial: start", "gateway: first start"]
    assert all(cost.cpu_seconds > 0 and cost.rss_mb > 1 for cost in costs.values())
    assert table_of(starts, costs).row_count == len(starts)
