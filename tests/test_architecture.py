"""The pages about the architecture name what is there, and the picture is the one of its source."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.picture import PICTURE, SOURCE, draw

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [DOCS / "architecture.md", DOCS / "glossary.md", *sorted((DOCS / "design").glob("*.md"))]


def test_the_picture_is_drawn_from_its_source() -> None:
    assert PICTURE.read_text() == draw(tomllib.loads(SOURCE.read_text()))


def test_the_picture_shows_files_that_are_there() -> None:
    paths = [box["path"] for box in tomllib.loads(SOURCE.read_text())["box"] if "path" in box]
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", page.read_text())
    assert [name for name in named if not _is_there(name)] == []


def _is_there(name: str) -> bool:
    # A page about `gateway/` names its files from there.
    return any((folder / name).exists() for folder in (ROOT, ROOT / "gateway"))


def test_the_architecture_page_names_each_folder_of_the_gateway() -> None:
    page = (DOCS / "architecture.md").read_text()
    folders = [path.name for path in (ROOT / "gateway").iterdir() if (path / "__init__.py").exists()]
    assert len(folders) >= 12
    assert [name for name in folders if f"`{name}/`" not in page] == []
