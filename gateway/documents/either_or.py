"""Rules between the fields of an object, as the variants that an object may have.

JSON Schema says such a rule with `oneOf`, `anyOf` or `not`. A language with unions says it as a union: a message has a
text and no body, or a body and no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from gateway.documents.components import Schema

MAX_VARIANTS = 32
_ABOUT_FIELDS = {"required", "properties", "not"}
_WORDS = _ABOUT_FIELDS | {"type", "description", "title"}


@dataclass(frozen=True)
class Variant:
    """What one variant of an object adds to the schema of all."""

    required: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    not_null: frozenset[str] = frozenset()
    narrower: Mapping[str, Any] = field(default_factory=dict)
    """The schemas that fields have besides."""

    @property
    def fields(self) -> frozenset[str]:
        """Return the fields that it is about."""
        return self.required | self.absent | self.not_null | self.narrower.keys()

    def __or__(self, other: "Variant") -> "Variant":
        return Variant(
            self.required | other.required,
            self.absent | other.absent,
            self.not_null | other.not_null,
            {**self.narrower, **other.narrower},
        )


def variants_of(schema: Schema) -> Sequence[Variant]:
    """Return the variants of an object, or none if no rule divides it."""
    found = [Variant()]
    for rule in _rules(schema):
        choices = _variants(rule) or ()
        # With a variant that asks for nothing, a rule divides nothing that a type can say.
        if len(choices) > 1 and all(_matters(each, schema) for each in choices):
            more = [one | other for one, other in product(found, choices)]
            found = [each for each in more if not each.required & each.absent]
        if len(found) > MAX_VARIANTS:
            return ()
    return found if len(found) > 1 else ()


def is_rule(schema: Any) -> bool:
    """Return whether a schema says something about the fields of an object that has its types elsewhere."""
    return isinstance(schema, dict) and _variants(schema) is not None


def _rules(schema: Schema) -> list[Schema]:
    own = [{word: schema[word]} for word in ("oneOf", "anyOf", "not") if word in schema]
    return [rule for rule in (*own, *schema.get("allOf", ())) if is_rule(rule)]


def _variants(rule: Schema) -> list[Variant] | None:
    """Return the variants that a rule allows, or None for what is no rule."""
    if rule.keys() == {"not"}:
        both = _all_present(rule["not"])
        return None if both is None else [Variant(absent=frozenset([name])) for name in both]
    if len(rule) != 1 or not rule.keys() <= {"oneOf", "anyOf"}:
        return None
    [branches] = rule.values()
    parsed = [_variant(branch) for branch in branches]
    found = [each for each in parsed if each is not None]
    if not found or len(found) < len(parsed):
        return None
    return _each_alone(found) if "oneOf" in rule else found


def _each_alone(variants: Sequence[Variant]) -> list[Variant]:
    """Return variants of which exactly one holds: where one asks for a single field only, the others lack it."""
    alone = [_only_field(each) for each in variants]
    return [
        each | Variant(absent=frozenset(name for other, name in enumerate(alone) if name and other != number))
        for number, each in enumerate(variants)
    ]


def _only_field(variant: Variant) -> str | None:
    if len(variant.required) != 1 or variant.absent or variant.narrower.keys() - variant.required:
        return None
    [name] = variant.required
    return name


def _variant(branch: Any) -> Variant | None:
    """Return what a branch of a rule says, or None if it is a type of its own."""
    if (
        not isinstance(branch, dict)
        or not branch.keys() <= _WORDS
        or not branch.keys() & {"required", "properties", "not"}
    ):
        return None
    absent = _all_present(branch["not"]) if "not" in branch else ()
    if absent is None or len(absent) > 1:
        return None
    properties = branch.get("properties", {})
    return Variant(
        required=frozenset(branch.get("required", ())),
        absent=frozenset(absent),
        not_null=frozenset(name for name, each in properties.items() if each == {"not": {"type": "null"}}),
        narrower={name: each for name, each in properties.items() if each != {"not": {"type": "null"}}},
    )


def _all_present(schema: Any) -> Sequence[str] | None:
    """Return the fields of which a schema says nothing but that they are there, or None."""
    if not isinstance(schema, dict):
        return None
    if schema.keys() == {"allOf"}:
        parts = [_all_present(part) for part in schema["allOf"]]
        return None if None in parts else [name for part in parts for name in part or ()]
    found = _variant(schema) if "not" not in schema else None
    if found is None or found.narrower or found.not_null - found.required:
        return None
    return sorted(found.required)


def _matters(variant: Variant, schema: Schema) -> bool:
    """Return whether a variant says more than the schema, in a way that a type can say."""
    known = frozenset(schema.get("required", ()))
    narrows = any(_has_type(each) for each in variant.narrower.values())
    return bool(variant.required - known or variant.absent or variant.not_null or narrows)


def _has_type(schema: Any) -> bool:
    return isinstance(schema, dict) and bool({"type", "const", "enum", "$ref", "anyOf", "oneOf"} & schema.keys())
