"""YAML that we write is read as what it was."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.yaml import yaml_text

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\n :-#'\"{}|>&*!%@`"))
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_it_comes_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == (value or None)


@pytest.mark.parametrize(
    "word", ["yes", "null", "~", "1e3", "0o7", "2026-01-01", "a: b", "- a", "#", "", " ", "\t", "="]
)
def test_a_text_stays_a_text(word: str) -> None:
    assert yaml.safe_load(yaml_text({word: [word, {word: word}]})) == {word: [word, {word: word}]}


def test_a_text_of_several_lines_is_a_block_that_a_person_can_read() -> None:
    assert yaml_text({"content": '{\n  "a": 1\n}'}) == 'content: |-\n  {\n    "a": 1\n  }\n'
