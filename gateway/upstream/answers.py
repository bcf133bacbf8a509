"""What a service answers: data or an error, and the effects that it asks for.

    {"data": {…}, "effects": […]}
    {"error": {"status": 40900, "name": "conflict", "message": "sold out"}, "effects": […]}

Anything else is a lie: `UpstreamFailed`, with a reason for the log that quotes none of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core import strict_json
from gateway.upstream.effects import Effect, read_effects, wrong_fields
from handlers.errors import MessageError, UpstreamFailed, is_own
from schemas.base import DefinitionError
from schemas.codes import Status

STATUSES = frozenset(
    {
        Status.FORBIDDEN,
        Status.NOT_A_MEMBER,
        Status.QUOTA_EXCEEDED,
        Status.NOT_FOUND,
        Status.CONFLICT,
        Status.TOO_LARGE,
        Status.VALIDATION_FAILED,
        Status.RATE_LIMITED,
    }
)
"""The gateway's own statuses that a service may use. The others are about frames, credentials and the gateway."""

MAX_ERROR_MESSAGE = 1000
"""The most characters of an error's message."""

_KEYS = frozenset({"data", "error", "effects"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer: either the reply's data or an error."""

    data: dict[str, Any] | None
    error: MessageError | None
    effects: tuple[Effect, ...] = ()


class DeclaredError(BaseModel):
    """An error as a service writes it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    status: int
    name: Annotated[str, Field(max_length=64)]
    message: Annotated[str, Field(min_length=1, max_length=MAX_ERROR_MESSAGE)]


def read_answer(body: bytes, max_depth: int) -> Answer:
    """Return what the JSON of an answer says, or raise `UpstreamFailed`."""
    try:
        document = strict_json.loads(body.decode(), max_depth=max_depth)
    except strict_json.NotStrictJson as error:
        raise UpstreamFailed(f"expected a JSON object, but {error}") from None
    except UnicodeDecodeError:
        raise UpstreamFailed("expected a JSON object in UTF-8, got other bytes") from None
    if not isinstance(document, dict) or not document.keys() <= _KEYS:
        raise UpstreamFailed("expected a JSON object with `data` or `error`, and `effects`, and nothing else")
    if ("data" in document) == ("error" in document):
        raise UpstreamFailed("expected either `data` or `error`, and not both")
    effects = read_effects(document["effects"]) if "effects" in document else ()
    if "error" in document:
        return Answer(None, _declared(document["error"]), effects)
    data = document["data"]
    if not isinstance(data, dict):
        raise UpstreamFailed("expected `data` to be an object, got something else")
    return Answer(data, None, effects)


def _declared(document: object) -> MessageError:
    try:
        declared = DeclaredError.model_validate(document)
    except ValidationError as error:
        wrong = wrong_fields(DeclaredError, error)
        raise UpstreamFailed(f"expected an error with `status`, `name` and `message`; wrong: {wrong}") from None
    try:
        return _class_of(declared.status, declared.name)(declared.message)
    except DefinitionError:
        raise UpstreamFailed("expected an error with a status and a name that a service may use") from None


@lru_cache(maxsize=256)
def _class_of(status: int, name: str) -> type[MessageError]:
    """Return the class of a service's error, or raise `DefinitionError` for a status or a name that it may not use."""
    if is_own(status):
        parts: Mapping[str, object] = {"status": status, "name": name}
        return type("ServiceError", (MessageError,), dict(parts))
    if status not in STATUSES or Status(status).name.lower() != name:
        raise DefinitionError("expected a status that a service may use, and its own name")
    return type("ServiceError", (MessageError,), {"status": Status(status)})
