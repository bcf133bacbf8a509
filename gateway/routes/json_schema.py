"""JSON Schemas of a route's data and reply (drafts 4 to 2020-12).

The validator is compiled once. It fetches nothing, and its regular expressions take linear time, because clients
choose what they are matched with.
"""

from typing import Any
from urllib.parse import unquote

from handlers.errors import MAX_FINDING, field_path
from schemas.base import FieldError

MAX_REGEX_BYTES = 1024 * 1024
"""The most memory that one compiled pattern may take."""


class JsonSchema:
    """A compiled schema. Two are equal if their documents are."""

    def __init__(self, document: Any) -> None:
        """Compile the document, or raise `ValueError` with the reason."""
        # Only a gateway with such routes needs the package.
        from jsonschema_rs import RegexOptions, ValidationError, validator_for

        if not isinstance(document, dict | bool):
            raise ValueError("expected a JSON Schema: an object, true or false")  # noqa: TRY004 - of the operator's file
        limits = RegexOptions(size_limit=MAX_REGEX_BYTES)
        try:
            # What does not fit is a client's text. So the mask stands for it in each finding.
            self._validator = validator_for(
                document, offline=True, mask="the value", pattern_options=limits, validate_formats=True
            )
        except ValidationError as error:
            place = field_path(tuple(error.instance_path)) if error.instance_path else "the schema"
            raise ValueError(f"expected a JSON Schema without remote references; at {place}: {error.message}") from None
        self.document = document
        self._recurs = _recurs(document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonSchema) and self.document == other.document

    def __hash__(self) -> int:
        return hash(repr(self.document))

    def fits(self, value: Any) -> bool:
        """Return whether a value is as the schema says."""
        return self._validator.is_valid(value)

    def findings(self, value: Any, *prefix: str) -> tuple[FieldError, ...]:
        """Return the first thing that is wrong with a value, if any; `prefix` is its path in the message.

        A client could make the list of all of them take a second. In a schema that refers to itself, it could make
        even the first one take for ever: each level of the value doubles the work. So that one has no details.
        """
        from jsonschema_rs import ValidationError

        if self._recurs:
            if self.fits(value):
                return ()
            return (FieldError(field=field_path(prefix), message="expected a value that fits the schema of the route"),)
        try:
            self._validator.validate(value)
        except ValidationError as error:
            place = field_path((*prefix, *error.instance_path))
            return (FieldError(field=place, message=_words(error)[:MAX_FINDING]),)
        return ()


def _words(error: Any) -> str:
    # These would quote names that a client has made up.
    if error.kind.name in {"additionalProperties", "unevaluatedProperties", "propertyNames"}:
        return "expected no other keys than the schema allows"
    return str(error.message)


def _recurs(document: Any) -> bool:
    """Return whether a schema may refer to itself, also by a reference that this cannot follow."""
    known: set[str] = set()

    def search(node: Any, within: frozenset[str]) -> bool:
        if isinstance(node, list):
            return any(search(each, within) for each in node)
        if not isinstance(node, dict):
            return False
        reference = node.get("$ref")
        if "$dynamicRef" in node or "$recursiveRef" in node:
            return True
        if isinstance(reference, str) and reference not in known:
            target = _target(document, reference)
            if reference in within or target is None or search(target, within | {reference}):
                return True
            known.add(reference)
        return any(search(each, within) for each in node.values())

    try:
        return search(document, frozenset())
    except RecursionError:
        return True


def _target(document: Any, reference: str) -> Any:
    """Return what a reference by JSON Pointer leads to (RFC 6901), or None for one of another kind."""
    if not reference.startswith("#/"):
        return None
    found = document
    for part in unquote(reference[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found
