"""Texts of clients on a terminal."""

import json

import pytest

from gateway.cli.printable import printable


@pytest.mark.parametrize(
    "text", ["plain ☃", "\x1b]0;owned\x07", "\x7f\x9b31m", "\u202e\u2028", "tag \U000e0001", "\r\n"]
)
def test_a_text_has_nothing_that_a_terminal_obeys_and_its_json_is_the_same(text: str) -> None:
    assert printable(text).isprintable()
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text
