"""The figures as Markdown, for documents."""

from benchmarks.markdown import table_of_records, tables
from benchmarks.results import Result


def test_figures_of_the_same_servers_share_a_table() -> None:
    results = [
        Result("µs a", {"gateway": 10.0, "tutorial": 20.0}),
        Result("µs b", {"gateway": 1234.5, "tutorial": 1000.0}),
        Result("KB c", {"gateway": 30.0}),
    ]
    assert tables(results).split("\n") == [
        "|  | gateway | tutorial |",
        "| --- | --- | --- |",
        "| µs a | 10.0 | 20.0 (0.50×) |",
        "| µs b | 1,234 | 1,000 (1.23×) |",
        "",
        "|  | gateway |",
        "| --- | --- |",
        "| KB c | 30.0 |",
    ]


def test_records_share_a_table_and_parts_have_the_names_of_their_records() -> None:
    records = [
        {"store": "sqlite", "senders": 1, "gateway": {"p50": 0.5}, "tutorial": None},
        {"store": "sqlite", "senders": 10, "gateway": {"p50": 1234.5}, "tutorial": {"p50": 12.34}},
    ]
    assert table_of_records(records).split("\n") == [
        "| store | senders | gateway p50 | tutorial p50 |",
        "| --- | --- | --- | --- |",
        "| sqlite | 1 | 0.50 |  |",
        "| sqlite | 10 | 1,234 | 12.3 |",
    ]
