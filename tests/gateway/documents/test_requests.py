"""Names and texts that no tool, no disk and no template reads otherwise than meant."""

import json
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.documents.exports import FORMATS, files_of
from gateway.documents.place import Place
from gateway.documents.requests import Names, json_text, title
from tests.gateway.documents.odd_messages import odd_catalog

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("{}%$'\"\n\\"))


@settings(max_examples=40)
@given(st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_stays_what_it_is_without_variables_and_invisible_characters(value: object) -> None:
    for indent in (None, 2):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert "{{" not in text
        assert "{%" not in text
        assert all(letter.isprintable() for letter in text.replace("\n", ""))


def test_a_lone_surrogate_can_be_written() -> None:
    assert json_text("\ud800").encode() == b'"\\ud800"'


@given(st.lists(st.text(max_size=64), max_size=20))
def test_names_of_files_are_safe_and_come_once(texts: list[str]) -> None:
    names = Names()
    taken = [names.take(text) for text in texts]
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in taken}) == len(texts)
    for name in taken:
        assert PurePosixPath(name).name == PureWindowsPath(name).name == name
        assert not name.startswith(".")
        assert not PureWindowsPath(name).is_reserved()
        assert name.isprintable()
        assert not set(name) & set('/\\:*?"<>|{}%')


@given(st.text())
def test_a_title_is_one_line(text: str) -> None:
    made = title(text)
    assert made
    assert made.isprintable()
    assert "{{" not in made


@pytest.mark.parametrize("name", [name for name, format in FORMATS.items() if format.make is not None])
def test_each_format_keeps_to_its_folder_and_has_every_odd_message(name: str) -> None:
    files = files_of(FORMATS[name], odd_catalog(), Place(), dict)
    folded = [path.casefold() for path in files]
    assert len(set(folded)) == len(files)
    for path, text in files.items():
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert "\\" not in path
        text.encode()
    everything = "".join(files.values())
    for kind in ("größe-ändern", "发送 消息", "@disabled"):
        assert kind in everything or json.dumps(kind)[1:-1] in everything, kind


@pytest.mark.parametrize("name", ["http", "postman", "bruno", "apifox", "k6"])
def test_the_token_comes_from_the_log_in(name: str) -> None:
    everything = "".join(files_of(FORMATS[name], odd_catalog(), Place(), dict).values())
    assert "/token" in everything
    assert "access_token" in everything
    assert "eyJ" not in everything  # how each token begins
