"""JSON Schemas of a route."""

import time
from typing import Any

import pytest

from gateway.routes.json_schema import JsonSchema

ORDER = {
    "type": "object",
    "properties": {"sku": {"type": "string", "maxLength": 8}, "count": {"type": "integer", "minimum": 1}},
    "required": ["sku"],
    "additionalProperties": False,
}


def test_what_fits_has_no_findings() -> None:
    schema = JsonSchema(ORDER)
    assert schema.fits({"sku": "a", "count": 1})
    assert schema.findings({"sku": "a", "count": 1}, "data") == ()


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({"sku": "hunter2-hunter2"}, "data.sku", "the value is longer than 8 characters"),
        ({"sku": "a", "count": 0}, "data.count", "the value is less than the minimum of 1"),
        ({"sku": "a", "hunter2": 1}, "data", "expected no other keys than the schema allows"),
        ({}, "data", '"sku" is a required property'),
        ([], "data", 'the value is not of type "object"'),
    ],
)
def test_a_finding_names_the_place_and_never_quotes_the_value(value: Any, field: str, message: str) -> None:
    schema = JsonSchema(ORDER)
    assert not schema.fits(value)
    [found] = schema.findings(value, "data")
    assert (found.field, found.message) == (field, message)


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({"propertyNames": {"pattern": "^a$"}}, {"hunter2": 1}),
        ({"unevaluatedProperties": False}, {"hunter2": 1}),
        ({"not": {"type": "string"}}, "hunter2"),
        ({"const": 3}, "hunter2"),
        ({"pattern": "^a$"}, "hunter2"),
        ({"items": False}, ["hunter2"]),
        ({"enum": ["x"]}, "hunter2"),
        ({"format": "email"}, "hunter2"),
        ({"oneOf": [{"type": "string"}, {"minLength": 2}]}, "hunter2"),
        ({"contains": {"const": 1}}, ["hunter2"]),
    ],
)
def test_no_keyword_quotes_a_value(document: Any, value: Any) -> None:
    [found] = JsonSchema(document).findings(value)
    assert "hunter2" not in found.message


def test_thousands_of_mistakes_cost_no_more_than_one() -> None:
    schema = JsonSchema({"items": {"enum": list(range(2000))}})
    before = time.process_time()
    assert len(schema.findings([5000] * 8000)) == 1
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(
    "document",
    [
        {"type": "strin"},
        {"minimum": "3"},
        {"pattern": "("},
        {"pattern": "(?=a)b"},
        {"pattern": "(a{1000}){1000}"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"$schema": "http://example.com/mine"},
        [1],
        "object",
        None,
    ],
    ids=str,
)
def test_a_document_that_is_no_schema_or_needs_another_place_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="expected a JSON Schema"):
        JsonSchema(document)


def test_a_pattern_takes_linear_time() -> None:
    schema = JsonSchema({"pattern": "^(a+)+$"})
    before = time.process_time()
    assert not schema.fits("a" * 50_000 + "b")
    assert time.process_time() - before < 1


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = JsonSchema({"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False})
    assert tree.fits({"child": {"child": {}}})
    assert not tree.fits({"child": {"other": {}}})
    assert JsonSchema({"$ref": "#"}).fits(1)


def test_schemas_are_equal_if_their_documents_are() -> None:
    assert JsonSchema(ORDER) == JsonSchema(dict(ORDER))
    assert JsonSchema(ORDER) != JsonSchema(True)


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    "reference",
    [{"$ref": "#"}, {"$ref": "#/$defs/node"}, {"$ref": "#node"}, {"$ref": "#/$defs/other"}, {"$dynamicRef": "#node"}],
)
def test_a_deep_value_of_a_recursive_schema_is_refused_at_once(keyword: str, reference: dict[str, str]) -> None:
    alternatives = [{"type": "array", "items": reference}, {"type": "array", "items": reference}, {"type": "string"}]
    node = {"$dynamicAnchor": "node", keyword: alternatives}
    schema = JsonSchema(node | {"$defs": {"node": node, "other": {"$ref": "#/$defs/node"}}})
    value: Any = 1
    for _ in range(30):
        value = [value]
    assert not schema.fits(value)
    [finding] = schema.findings(value, "data")
    assert (finding.field, finding.message) == ("data", "expected a value that fits the schema of the route")
    assert schema.findings("a", "data") == ()


def test_a_schema_with_shared_parts_keeps_its_details() -> None:
    name = {"$ref": "#/$defs/a~1b"}
    schema = JsonSchema({"$defs": {"a/b": {"type": "string"}}, "properties": {"first": name, "last": name}})
    [finding] = schema.findings({"first": "a", "last": 1}, "data")
    assert finding.field == "data.last"
