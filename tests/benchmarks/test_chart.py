"""The chart shows every server of a run, to scale, and leaves out what was not measured."""

import json
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.chart import Bar, Panel, columns_of, draw
from benchmarks.costs import IDLE, ROUND_TRIP
from benchmarks.slow_reader import P99 as DELIVERY_P99
from benchmarks.under_load import LOADS, P99
from tests.benchmarks.conftest import RunBenchmark

SVG = "{http://www.w3.org/2000/svg}"


def test_it_draws_what_a_run_has_measured(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    figures, chart = tmp_path / "figures.json", tmp_path / "chart.svg"
    results = [{"figure": ROUND_TRIP, "medians": {"gateway": 10.0, "Node <ws>": 20.0}}]
    figures.write_text(json.dumps({"machine": "2 cores", "results": results}))
    run_benchmark("chart", figures, chart)
    root = ElementTree.parse(chart).getroot()
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:5] == [ROUND_TRIP, "gateway", "10.0", "Node <ws>", "20.0"]
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")


def test_bars_are_to_scale() -> None:
    svg = draw([[Panel("µs", [Bar("gateway", 10, True), Bar("other", 40, False)])]], ["a note"])
    widths = [float(bar.attrib["width"]) for bar in ElementTree.fromstring(svg).iter(f"{SVG}rect")][1:]
    assert widths[1] == 4 * widths[0]


def test_a_bar_that_would_dwarf_the_others_is_cut() -> None:
    bars = [Bar("gateway", 10, True), Bar("other", 40, False), Bar("slow", 1000, False)]
    root = ElementTree.fromstring(draw([[Panel("µs", bars)]], []))
    widths = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")][1:]
    assert widths[2] == widths[1] == 4 * widths[0]
    assert len(list(root.iter(f"{SVG}path"))) == 1


def test_the_load_is_drawn_next_to_its_absence() -> None:
    loaded = {f"{P99} {load}": {"gateway": 2.0, "unloaded": 1.0} for load in LOADS}
    [left, right] = columns_of({**loaded, DELIVERY_P99: {"gateway": 3.0, "all read": 3.0}, IDLE: {"gateway": 30.0}})
    assert left == []
    assert [len(panel.bars) for panel in right] == [1, 1 + len(LOADS), 2]
