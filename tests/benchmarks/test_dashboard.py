"""The picture of the dashboard shows the panels with answers, where the dashboard has them."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.dashboard import dashboard
from benchmarks.panels import Series, draw, shown

SVG = "{http://www.w3.org/2000/svg}"
LINE = [(float(second), float(second % 7)) for second in range(60)]
PICTURE = Path(__file__).parents[2] / "docs" / "monitoring.svg"


def texts_of(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def a_line(panel: Any) -> list[Series]:
    return [] if panel["type"] == "row" else [("a <name> & more", LINE)]


def test_it_draws_each_panel_with_its_title_its_legend_and_a_line() -> None:
    svg = draw([(panel, a_line(panel)) for panel in dashboard()], "a note")
    texts = texts_of(svg)
    assert all(panel["title"] in texts for panel in dashboard())
    charts = [panel for panel in dashboard() if panel["type"] == "timeseries"]
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}polyline"))) == len(charts)
    assert texts[-1] == "a note"


def test_a_row_with_few_answers_and_a_panel_without_any_are_left_out() -> None:
    def lines_of(panel: Any) -> list[Series]:
        return a_line(panel) if panel["title"] in {"Joins", "Gaps", "Deliveries", "Circuit breakers"} else []

    texts = texts_of(draw([(panel, lines_of(panel)) for panel in dashboard()], ""))
    assert {"Rooms", "Joins", "Gaps", "Deliveries"} <= set(texts)
    assert not {"Memory of rooms", "Services and hooks", "Circuit breakers"} & set(texts)


def test_a_line_has_a_gap_where_values_are_missing() -> None:
    [panel] = [panel for panel in dashboard() if panel["title"] == "Lag of the bus"]
    lines = [("50 %", [*LINE[:20], *LINE[40:]])]
    rows: list[tuple[Any, list[Series]]] = [({"type": "row", "title": "The bus"}, []), (panel, lines)]
    assert len(list(ElementTree.fromstring(draw(rows, "")).iter(f"{SVG}polyline"))) == 2


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0714, "s", "71.4 ms"),
        (2.5, "s", "2.5 s"),
        (0.0123, "percentunit", "1.23 %"),
        (1.0, "bool_yes_no", "Yes"),
        (0.0, "bool_yes_no", "No"),
        (13.51, "reqps", "13.5/s"),
        (3 * 2**20, "bytes", "3 MiB"),
        (2**31, "bytes", "2 GiB"),
        (5000.0, "short", "5000"),
    ],
)
def test_values_have_their_units(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_the_picture_in_the_documents_has_the_panels_that_the_dashboard_has() -> None:
    drawn = [text.text for text in ElementTree.parse(PICTURE).getroot().iter(f"{SVG}text")]
    titles = [panel["title"] for panel in dashboard()]
    assert sum(title in drawn for title in titles) > len(titles) / 2
    of_panels = {
        text.text
        for text in ElementTree.parse(PICTURE).getroot().iter(f"{SVG}text")
        if text.attrib["class"] in {"title", "row"}
    }
    assert of_panels <= set(titles)
