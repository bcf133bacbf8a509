"""Schemas in draft-07: what fits stays what fits, and what cannot be written becomes any JSON."""

from typing import Any

import jsonschema_rs
import pytest

from gateway.documents.draft07 import ANY_JSON, draft07, draft07_of

AT = "#/components/schemas/"


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"prefixItems": [{"type": "integer"}], "items": False}, [[1], []], [[1, 2], ["a"]]),
        ({"type": "array", "items": {"type": "integer"}}, [[1]], [["a"]]),
        ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 2}, {}], [{"a": 1}]),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{"a": 1, "b": 2}], [{"a": 1}]),
        ({"$ref": f"{AT}Known", "minimum": 5}, [5], [3, 9]),
        (
            {"properties": {"$ref": {"type": "integer"}}, "additionalProperties": False},
            [{"$ref": 1}],
            [{"$ref": "x"}, {"x": 1}],
        ),
        ({"const": None}, [None], [0]),
        ({"exclusiveMinimum": True, "minimum": 1}, [2], [1]),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, [{}, {"a": 1, "b": 2}], [{"a": 1}]),
        ({"anyOf": [True, False]}, [1], []),
        ({"not": True}, [], [1]),
    ],
)
def test_a_schema_takes_the_same_as_before(schema: dict[str, Any], right: list[Any], wrong: list[Any]) -> None:
    schemas = draft07({"Known": {"type": "integer", "maximum": 8}, "Tested": schema}, AT)
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", "components": {"schemas": schemas}}
    validator = jsonschema_rs.Draft7Validator({**whole, "allOf": [{"$ref": f"{AT}Tested"}]})
    assert schemas["Tested"] != ANY_JSON
    assert all(map(validator.is_valid, right))
    assert not any(map(validator.is_valid, wrong))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "#/components/schemas/Missing"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema"},
        {"$dynamicRef": "#node"},
        {"properties": {"a": {"$id": "https://example.org/other"}}},
        {"anyOf": []},
    ],
)
def test_what_cannot_be_written_is_any_json(schema: dict[str, Any]) -> None:
    assert draft07({"Tested": schema}, AT)["Tested"] == ANY_JSON
    assert draft07_of(schema, {}, AT) == ANY_JSON


def test_a_schema_of_any_depth_is_any_json() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"not": deep}
    assert draft07({"Deep": deep}, AT)["Deep"] == ANY_JSON


def test_references_of_a_schema_with_an_address_of_its_own_lead_to_its_place() -> None:
    address = "https://example.org/order"
    schema = {
        "$id": address,
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": f"{address}#/$defs/x"}},
        "$defs": {"x": {}},
    }
    found = draft07({"Order": schema}, AT)["Order"]
    assert {each["$ref"] for each in found["properties"].values()} == {f"{AT}Order/definitions/x"}
    assert "$id" not in found


def test_data_that_looks_like_a_reference_is_left_out() -> None:
    schema = {"default": {"$ref": "x"}, "examples": [[{"$ref": 1}]], "description": "<b>", "title": "T"}
    assert draft07({"Tested": schema}, AT)["Tested"] == {"description": "&lt;b>", "title": "T"}
