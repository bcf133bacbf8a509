"""The generator of JSON Schemas for what goes over the wire."""

import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from gateway.documents.names import in_ascii
from schemas.base import Wire
from schemas.json_schema import as_sent, left_out_by_condition, without_titles

Schema = dict[str, Any]

_OTHER_SIGN = re.compile(r"[^A-Za-z0-9._-]")
_MODULE = re.compile(r"[A-Za-z0-9_.]*\.")
_ANNOTATION = re.compile(r"\b(Annotated|Union|Optional)\[|, ?\w+\(.*", re.DOTALL)
_NUMBER = re.compile(r"__\d+\Z")


def class_name(definition: str) -> str:
    """Return the name of the class of a definition. Two classes with the same name have modules or numbers there."""
    return _MODULE.sub("", _NUMBER.sub("", definition))


class WireSchema(GenerateJsonSchema):
    """Schemas of what goes over the wire, also for models that are no `Wire`. What JSON cannot express is any JSON."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: a title is a name that a developer has chosen."""
        return False

    def model_schema(self, schema: Any) -> Schema:
        """Return the schema of a model."""
        return self._tidy(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Schema:
        """Return the schema of a dataclass."""
        return self._tidy(super().dataclass_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: Any) -> Schema:
        """Return the schema of a dictionary with known keys, some of which may be missing."""
        return self._tidy(super().typed_dict_schema(schema), schema.get("cls"), has_all=False)

    def default_schema(self, schema: Any) -> Schema:
        """Return the schema of a value with a default, unless that is null: a generator would take it for required."""
        found = super().default_schema(schema)
        return {key: value for key, value in found.items() if key != "default" or value is not None}

    def nullable_schema(self, schema: Any) -> Schema:
        """Return the schema of a value that may be null: of any JSON that is any JSON, which a linter asks for."""
        found = super().nullable_schema(schema)
        return {} if {} in found.get("anyOf", ()) else found

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        """Return the schema of any JSON."""
        return {}

    def normalize_name(self, name: str) -> str:
        """Return the name of a definition: that of a class, with dots behind its modules and dashes as brackets."""
        return _OTHER_SIGN.sub("-", in_ascii(_ANNOTATION.sub("", name.replace("<locals>", ""))).replace(" ", ""))

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Do nothing: a default without a JSON form is left out."""

    def _tidy(self, found: Schema, owner: Any, has_all: bool = True) -> Schema:
        if isinstance(owner, type) and issubclass(owner, Wire):
            return found  # it does this itself, so that FastAPI's documents have it too
        without_titles(found, getattr(owner, "__name__", ""))
        if self.mode == "serialization":
            as_sent(found, self.resolve_ref_schema, has_all=has_all, sometimes=left_out_by_condition(owner))
        return found
