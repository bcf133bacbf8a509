"""The documents, docstrings and comments are plain English."""

from functools import cache
from pathlib import Path

import pytest

from tests.support import language
from tests.support.language import Place, documents, hidden_actions, measure, read, report, sources

MAX_AVOIDED = 0.5
"""Words such as `who` in 1,000."""
MAX_MEAN_SENTENCE = 20
MAX_SENTENCE = 35
"""The words of the longest sentence."""
MAX_CELL = 30
"""A table's cell holds a phrase, not a paragraph."""

MAX_AVOIDED_IN_CODE = 0.5
MAX_HIDDEN_ACTIONS = 0
"""The same for docstrings and comments. It may only shrink."""


@pytest.mark.parametrize("document", documents())
def test_a_document_is_plain_english(document: str) -> None:
    measured = measure(read(document))
    reached = (
        measured.avoided_per_thousand,
        measured.mean_sentence,
        measured.longest_sentence,
        measured.longest_cell,
    )
    allowed = (MAX_AVOIDED, MAX_MEAN_SENTENCE, MAX_SENTENCE, MAX_CELL)
    is_plain = all(figure <= bound for figure, bound in zip(reached, allowed, strict=True))
    assert is_plain, report([document])


@cache
def code() -> list[Place]:
    """The docstrings and comments of all code: to read them takes seconds."""
    return [place for path in sources() for place in read(path)]


def test_docstrings_and_comments_name_their_subjects() -> None:
    measured = measure(code())
    assert measured.words > 10_000
    assert measured.avoided_per_thousand <= MAX_AVOIDED_IN_CODE, report(sources())


def test_docstrings_begin_with_what_is_done() -> None:
    hidden = hidden_actions(code())
    assert len(hidden) <= MAX_HIDDEN_ACTIONS, "\n".join(f"{place}: {place.text}" for place in hidden)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(language, "ROOT", tmp_path)
    return tmp_path


def test_what_is_measured_in_a_document(folder: Path) -> None:
    (folder / "page.md").write_text(
        "# Who reads this\n\n"
        "One sentence of six words here. `who. knows` is [code](nobody.md),\nover two lines.\n\n"
        "```json\nnobody reads code\n```\n\n"
        "    everybody skips this\n\n"
        "- an item\n  goes on\n- another\n\n"
        "| who | rule |\n|---|---|\n| a cell | of four words here |\n"
    )
    places = read("page.md")
    assert [sentence for place in places for sentence in place.sentences] == [
        "One sentence of six words here.",
        "`code` is code, over two lines.",
        "an item goes on",
        "another",
    ]
    measured = measure(places)
    assert (measured.avoided, measured.sentences, measured.longest_sentence, measured.longest_cell) == (2, 4, 6, 4)
    assert measured.words == 3 + 6 + 6 + 4 + 1 + 1 + 1 + 2 + 4
    assert measured.mean_sentence == (6 + 6 + 4 + 1) / 4


def test_what_is_measured_in_code(folder: Path) -> None:
    (folder / "module.py").write_text(
        '"""Tell somebody.\n\nA second paragraph.\n"""\n\n'
        'text = "who is a string"\n"""Whose docstring."""\n'
        "# A comment of one\n# sentence over two lines\n"
        "x = 1  # noqa: who\n"
    )
    places = read("module.py")
    assert [(place.line, place.text) for place in places] == [
        (1, "Tell somebody."),
        (3, "A second paragraph."),
        (7, "Whose docstring."),
        (8, "A comment of one sentence over two lines"),
    ]
    assert measure(places).avoided == 2
    assert [place.text for place in hidden_actions(places)] == ["Tell somebody."]
