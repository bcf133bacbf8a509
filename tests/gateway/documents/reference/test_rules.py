"""Rules about several fields, in words."""

from typing import Any

import pytest

from gateway.documents.reference.rules import rules_of
from schemas.rules import at_least_one, exactly_one, not_both, only_with


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (exactly_one("a", "b"), "Exactly one of `a`, `b`"),
        (at_least_one("a", "b", "c"), "At least one of `a`, `b`, `c`"),
        (not_both("a", "b"), "Not together: `a`, `b`"),
        (only_with("a", "b"), "Either no `a`, or `b`"),
        (
            {
                "anyOf": [
                    {"properties": {"a": {"minLength": 1}}},
                    {"required": ["b"], "properties": {"b": {"const": True}}},
                ]
            },
            "Either `a` is not empty, or `b` is `true`",
        ),
        (
            {
                "oneOf": [
                    {"required": ["a"], "properties": {"b": {"const": False}}},
                    {"required": ["c"]},
                    {"required": ["d", "e"]},
                ]
            },
            "Either `b` is `false` or missing with `a`, or `c`, or `d` with `e`",
        ),
    ],
)
def test_a_rule_has_words(rule: dict[str, Any], words: str) -> None:
    assert list(rules_of({"properties": {}, "allOf": [rule]})) == [words]
    assert list(rules_of(rule)) == [words]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {},
        {"oneOf": [{"$ref": "#/a"}, {"type": "object"}]},
        {"anyOf": [{"required": ["a"]}]},
        {"anyOf": "x", "allOf": 3, "not": {"required": ["a"]}},
        {"allOf": [True, {"anyOf": [{"properties": {"a": {"pattern": "x"}}}, {"required": ["b"]}]}]},
    ],
)
def test_what_has_no_words_is_left_out(schema: Any) -> None:
    assert list(rules_of(schema)) == []
