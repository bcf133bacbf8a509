"""The command of the proofs prints their bars, and fails where one is missed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proofs import table
from proofs.__main__ import main
from proofs.bar import Bar, Proof, Report, Scale, at_most, measured, none_of
from proofs.outcome import Outcome, read
from proofs.page import BEGIN, END, PAGE, newest, table_of, with_table
from tests.proofs import examples

NAMES = ("kept", "missed", "broken")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PROOFS", {name: f"{examples.__name__}:{name.upper()}" for name in NAMES})
    monkeypatch.setattr(table, "SIDE_BY_SIDE", frozenset({"kept", "broken"}))


def prove(*arguments: str) -> tuple[int, str]:
    import typer

    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_all_bars_of_a_proof_are_in_a_table() -> None:
    status, printed = prove("kept")
    assert status == 0
    assert "passed" in printed
    assert "missed" not in printed
    assert "lost" in printed
    assert "full" in printed


def test_a_missed_bar_fails_the_command_and_the_next_proof_still_runs() -> None:
    status, printed = prove("missed", "kept", "--short")
    assert status == 1
    assert "missed" in printed
    assert "short" in printed  # what the second one found


def test_a_fault_of_a_proof_is_a_missed_bar_and_what_runs_beside_it_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    status, printed = prove("kept", "broken", "--short", "--json", str(file))
    assert status == 1
    assert "RuntimeError: the store is gone" in printed
    kept, broken = read([file])
    assert (kept.passed, broken.passed) == (True, False)
    assert (kept.command, kept.scale) == ("python -m proofs kept --short", Scale.SHORT)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    status, printed = prove("keept")
    assert status == 2
    assert "there is no proof keept" in printed


def test_the_page_has_the_newest_full_run_of_each_proof(tmp_path: Path) -> None:
    short, full = tmp_path / "short.json", tmp_path / "full.json"
    prove("kept", "--json", str(full))
    prove("kept", "missed", "--short", "--json", str(short))
    chosen = newest(read([full, short]))
    assert [outcome.scale for outcome in chosen] == [Scale.FULL, Scale.SHORT]
    written = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", table_of(chosen))
    assert written.startswith(f"before\n{BEGIN}\nMachine: ")
    assert written.endswith(f"{END}\nafter\n")
    assert "| `python -m proofs kept` | lost | 0 | 0 | passed |" in written
    assert "| `python -m proofs missed --short` | lost | 0 | 2 | **missed** |" in written
    assert "old" not in written


def test_the_page_of_the_documents_has_a_place_for_the_table() -> None:
    assert with_table(PAGE.read_text(), "new").count("new") >= 1
    with pytest.raises(ValueError, match="the page lacks"):
        with_table("a page without marks", "new")


def test_a_bar_compares_what_was_found_with_its_limit() -> None:
    assert none_of("lost", 0).passed
    assert none_of("lost", 1) == Bar("lost", "0", "1", False)
    assert at_most("memory", 24.04, 24, " KB") == Bar("memory", "≤ 24 KB", "24.0 KB", False, is_figure=True)


@pytest.mark.parametrize(
    ("found", "text", "passed"),
    [
        ((1.0,), "1.0", True),
        ((3.0, 1.0), "1.0 (second measurement)", True),
        ((3.0,) * 4, "3.0 (third measurement)", False),
    ],
)
async def test_a_bar_of_time_is_measured_three_times_at_most(found: Sequence[float], text: str, passed: bool) -> None:
    values, lines = iter(found), list[str]()

    async def measure() -> Bar:
        return at_most("ratio", next(values), 2)

    bar = await measured(measure, lines.append)
    assert (bar.found, bar.passed) == (text, passed)
    assert len(lines) == sum(value > 2 for value in found[:3])


async def test_a_proof_is_found_by_name() -> None:
    found = table.proof("kept")
    assert isinstance(found, Proof)
    lines: list[str] = []
    report: Report = lines.append
    assert await found.prove(Scale.FULL, report)
    assert lines == ["it began"]


def test_proofs_that_wait_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SIDE_BY_SIDE", frozenset({"idle", "soak"}))
    assert table.in_groups(["input", "idle", "http", "soak", "rooms"]) == [
        ["input"],
        ["idle", "soak"],
        ["http"],
        ["rooms"],
    ]


@pytest.mark.parametrize(("scale", "passed"), [(Scale.SHORT, True), (Scale.FULL, False)])
def test_only_the_full_form_fails_for_a_figure(scale: Scale, passed: bool) -> None:
    bars = (none_of("lost", 0), at_most("CPU", 20, 15))
    assert outcome(scale, bars).passed is passed


def test_both_forms_fail_for_a_count() -> None:
    assert not outcome(Scale.SHORT, (none_of("lost", 1), at_most("CPU", 1, 15))).passed


def outcome(scale: Scale, bars: tuple[Bar, ...]) -> Outcome:
    return Outcome("kept", "about", scale, "2026-11-30", "a machine", "a command", 1.0, bars)
