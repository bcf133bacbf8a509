"""Strict decoding of JSON from untrusted clients."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import strict_json
from gateway.core.strict_json import NotStrictJson

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_is_json_is_read_as_it_was_written(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=ascii_only, indent=indent), max_depth=100) == value


@given(values)
def test_what_is_written_without_spaces_is_read_as_it_was_written(value: Any) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=False, separators=(",", ":")), max_depth=100) == value
    assert strict_json.loads(orjson.dumps(value).decode(), max_depth=100) == value


@pytest.mark.parametrize("depth", [253, 254, 255, 256])
def test_as_many_levels_as_may_be_allowed_are_read(depth: int) -> None:
    value = strict_json.loads("[" * depth + "]" * depth, max_depth=256)
    for _ in range(depth - 1):
        [value] = value
    assert value == []


@given(st.dictionaries(texts, values, min_size=1, max_size=3), st.data())
def test_a_key_that_is_there_twice_is_always_found(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    written = data.draw(st.sampled_from([json.dumps(value), orjson.dumps(value).decode()]))
    text = written[:-1] + f",{json.dumps(key)}{space}:{space}1}}"
    wrapped = data.draw(st.sampled_from(["{}", "[{}]", '{{"a:b":{}}}'])).format(text)
    with pytest.raises(NotStrictJson, match="twice"):
        strict_json.loads(wrapped, max_depth=100)


@pytest.mark.parametrize(
    "text",
    [
        '{"at":"12:30","a":1,"a":2}',
        '{"at":"12:30","a":1,"a" :2}',
        '{"at":"a\\": b","a":1,"a"\t:2}',
        '{"at":"12:30","a":1,"\\u0061":2}',
        '{"a":{"b":":","b" :1}}',
    ],
)
def test_colons_in_strings_hide_no_key_that_is_there_twice(text: str) -> None:
    with pytest.raises(NotStrictJson, match="twice"):
        strict_json.loads(text, max_depth=8)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    with suppress(NotStrictJson):
        strict_json.loads(text, max_depth=8)


@pytest.mark.parametrize("depth", [1, 8, 9, 500, 1023])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_counted_in_arrays_and_objects(depth: int, opening: str, closing: str) -> None:
    text = opening * depth + "1" + closing * depth
    if depth <= 8:
        strict_json.loads(text, max_depth=8)
    else:
        with pytest.raises(NotStrictJson, match="more than 8 levels"):
            strict_json.loads(text, max_depth=8)


def test_many_shallow_arrays_are_not_deep() -> None:
    assert len(strict_json.loads("[" + ",".join(["[]"] * 1000) + "]", max_depth=2)) == 1000


@pytest.mark.parametrize("depth", [9, 900, 1020])
def test_a_thousand_levels_behind_a_key_that_is_there_twice_are_refused_as_well(depth: int) -> None:
    with pytest.raises(NotStrictJson):
        strict_json.loads('{"a":' + "[" * depth + "]" * depth + ',"a":1}', max_depth=8)
