"""Measures how plain the English of the documents and of the code's docstrings and comments is.

`python -m tests.support.language` prints the figures and the places to correct. With paths, it measures these files.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

AVOIDED = re.compile(
    r"\b(who|whom|whose|whoever|whomever|somebody|someone|everybody|everyone|nobody|anybody|anyone)\b", re.IGNORECASE
)
"""Words that hide the subject of a sentence."""

_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^#{1,6} ")
_ITEM = re.compile(r"^\s*([-*+]|\d+[.)]) +")
_TABLE_RULE = re.compile(r"^\s*\|?[\s:|-]+\|?\s*$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])(?<!e\.g\.)(?<!i\.e\.)[)\"'*_”]*\s+")
_PRAGMA = re.compile(r"#\s*(noqa|type:|pragma|!)")
_STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' r"'''(?:\\.|[^\\])*?'''|" r'"(?:\\.|[^"\\])*"|' r"'(?:\\.|[^'\\])*'|" r"#[^\n]*",
    re.DOTALL,
)
"""Ten times as quick as `tokenize`."""


@dataclass(frozen=True)
class Place:
    """Text of one kind: a paragraph, an item, a heading, a table's cell, a docstring or a comment."""

    path: str
    line: int
    kind: str
    text: str

    @property
    def prose(self) -> str:
        """The text as it is read: a link is its words, and code is one word that hides what is in it."""
        return _CODE.sub("`code`", _LINK.sub(r"\1", self.text))

    @property
    def sentences(self) -> list[str]:
        """The sentences of prose: a heading and a table's cell are phrases, and have none."""
        if self.kind in {"heading", "cell"}:
            return []
        return [sentence for sentence in _SENTENCE_END.split(self.prose) if words(sentence)]

    @property
    def avoided(self) -> list[str]:
        """The words in it that hide a subject."""
        return AVOIDED.findall(self.prose)

    def __str__(self) -> str:
        """Name the place as an editor opens it."""
        return f"{self.path}:{self.line}"


def words(text: str) -> int:
    """Count the words: what has a letter or a digit in it."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


@dataclass(frozen=True)
class Measured:
    """What the Proof of plain English is about."""

    words: int
    avoided: int
    sentences: int
    mean_sentence: float
    longest_sentence: int
    longest_cell: int

    @property
    def avoided_per_thousand(self) -> float:
        """How often a subject is hidden."""
        return 1000 * self.avoided / max(self.words, 1)


def measure(places: Iterable[Place]) -> Measured:
    """Measure some text."""
    places = list(places)
    lengths = [words(sentence) for place in places for sentence in place.sentences]
    return Measured(
        words=sum(words(place.prose) for place in places),
        avoided=sum(len(place.avoided) for place in places),
        sentences=len(lengths),
        mean_sentence=sum(lengths) / max(len(lengths), 1),
        longest_sentence=max(lengths, default=0),
        longest_cell=max((words(place.prose) for place in places if place.kind == "cell"), default=0),
    )


def documents() -> list[str]:
    """Return the paths of the documents."""
    found = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    tops = ("clients", "docs", "examples")
    found += sorted(path for top in tops for path in ROOT.glob(f"{top}/**/*.md") if "node_modules" not in path.parts)
    return [str(path.relative_to(ROOT)) for path in found if path.exists()]


def sources() -> list[str]:
    """Return the paths of the code and of its tests."""
    return [
        str(path.relative_to(ROOT))
        for top in ("clients", "examples", "gateway", "handlers", "proofs", "schemas", "tests")
        for path in ROOT.glob(f"{top}/**/*.py")
    ]


def read(path: str) -> list[Place]:
    """Return the prose of a document or of a source file."""
    text = (ROOT / path).read_text()
    return list(_of_document(path, text) if path.endswith(".md") else _of_source(path, text))


def _of_document(path: str, text: str) -> Iterator[Place]:
    """Yield the paragraphs, items, headings and cells of Markdown, without its code blocks."""
    open_place: Place | None = None
    for number, line in enumerate(_without_code_blocks(text), start=1):
        kind = _kind(line)
        if kind == "paragraph" and open_place is not None:
            open_place = Place(path, open_place.line, open_place.kind, f"{open_place.text} {line.strip()}")
            continue
        if open_place is not None:
            yield open_place
        open_place = Place(path, number, kind, _ITEM.sub("", line.strip())) if kind in {"paragraph", "item"} else None
        if kind == "heading":
            yield Place(path, number, kind, line.lstrip("# "))
        elif kind == "cell":
            yield from (Place(path, number, kind, cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip(" |")))
    if open_place is not None:
        yield open_place


def _kind(line: str) -> str:
    if not line.strip() or (line.lstrip().startswith("|") and _TABLE_RULE.match(line)):
        return "blank"
    if _HEADING.match(line):
        return "heading"
    if line.lstrip().startswith("|"):
        return "cell"
    return "item" if _ITEM.match(line) else "paragraph"


def _without_code_blocks(text: str) -> Iterator[str]:
    """Yield the lines, blank where there is code: between fences, or four spaces in after a blank line."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    fenced = indented = False
    is_after_blank, is_in_list = True, False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
            yield ""
            continue
        is_blank = not line.strip()
        if not fenced and not is_blank:
            indented = line.startswith("    ") and (indented or (is_after_blank and not is_in_list))
            is_in_list = bool(_ITEM.match(line)) or (is_in_list and line.startswith(" "))
        is_after_blank = is_blank
        yield "" if fenced or indented else line


def _of_source(path: str, text: str) -> Iterator[Place]:
    """Yield the docstrings, those of attributes too, and the comments of Python."""
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for offset, paragraph in _paragraphs(node.value.value):
                kind = "docstring" if offset == 0 else "paragraph"
                yield Place(path, node.lineno + offset, kind, paragraph)
    yield from _comments(path, text)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements in a module, and in its statements; no expression has a docstring."""
    for blocks in ("body", "handlers", "orelse", "finalbody", "cases"):
        for statement in getattr(node, blocks, ()):
            yield statement
            yield from _statements(statement)


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of a docstring, and on which of its lines each begins."""
    for place in _of_document("", re.sub(r"\n[ ]+", "\n", text)):
        yield place.line - 1, place.text


def _comments(path: str, text: str) -> Iterator[Place]:
    """Yield the comments; lines that follow one another are one."""
    open_place, last = None, 0
    for number, comment in _numbered_comments(text):
        if _PRAGMA.match(comment):
            continue
        words_of_it = comment.lstrip("#: ")
        if open_place is not None and number == last + 1:
            open_place = Place(path, open_place.line, "comment", f"{open_place.text} {words_of_it}")
        else:
            if open_place is not None:
                yield open_place
            open_place = Place(path, number, "comment", words_of_it)
        last = number
    if open_place is not None:
        yield open_place


def _numbered_comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with the number of its line."""
    number, end = 1, 0
    for found in _STRING_OR_COMMENT.finditer(text):
        number, end = number + text.count("\n", end, found.start()), found.start()
        if found[0].startswith("#"):
            yield number, found[0]


def hidden_actions(places: Iterable[Place]) -> list[Place]:
    """Return the docstrings that begin with Give or Tell, and not with what is done."""
    return [
        place for place in places if place.kind == "docstring" and re.match(r"(Gives?|Tells?)\b", place.text.lstrip())
    ]


def report(paths: list[str], longest: int = 40) -> str:
    """Return the figures of each file, and the places to mend: hidden subjects first, then the longest sentences."""
    lines, places = [], [place for path in paths for place in read(path)]
    if len(paths) <= 40:
        lines += [_figures(path, measure(read(path))) for path in paths]
    lines += [_figures("all of these", measure(places)), ""]
    lines += [f"{place}: {', '.join(place.avoided)}: {place.prose[:160]}" for place in places if place.avoided]
    lines += [f"{place}: begins with {place.text.split()[0]}: {place.text[:120]}" for place in hidden_actions(places)]
    phrases = [(words(place.prose), place, place.prose) for place in places if place.kind == "cell"]
    phrases += [(words(sentence), place, sentence) for place in places for sentence in place.sentences]
    phrases.sort(key=lambda phrase: -phrase[0])
    lines += ["", *(f"{place}: {count} words ({place.kind}): {text}" for count, place, text in phrases[:longest])]
    return "\n".join(lines)


def _figures(name: str, measured: Measured) -> str:
    return (
        f"{name}: {measured.words} words, {measured.avoided_per_thousand:.2f} hidden subjects per 1,000 words, "
        f"{measured.mean_sentence:.1f} words a sentence ({measured.sentences}), "
        f"the longest sentence {measured.longest_sentence} and the longest cell {measured.longest_cell} words"
    )


if __name__ == "__main__":
    for chosen in [sys.argv[1:]] if sys.argv[1:] else [documents(), sources()]:
        sys.stdout.write(report(chosen) + "\n\n")
