"""Checks of what an application adds: its handlers, its events, its errors, and the examples of each.

Each check raises `DefinitionError` with one line: where the class is, what was expected, and what came.
"""

import json
from collections.abc import Callable, Iterable
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from handlers.base import MsgHandler
from handlers.errors import AppError, ValidationFailed
from schemas.base import MAX_TYPE_LENGTH, DefinitionError, Event, place_of
from schemas.errors import ErrorBody


def check_handler(type_: object, handler: object) -> None:
    """Check a message type and its handler."""
    if not isinstance(type_, str) or not 1 <= len(type_) <= MAX_TYPE_LENGTH:
        raise DefinitionError(f"handlers: expected message types of 1 to {MAX_TYPE_LENGTH} characters, got {type_!r}")
    if not isinstance(handler, type) or not issubclass(handler, MsgHandler) or isabstract(handler):
        raise DefinitionError(
            f"handlers: expected a subclass of MsgHandler with a `handle` for {type_!r}, got {handler!r}"
        )
    if not hasattr(getattr(handler, "schema", None), "__pydantic_validator__"):
        raise DefinitionError(
            f"handlers: expected a pydantic model as the `schema` of {place_of(handler)}, for {type_!r}"
        )
    validator = handler.schema.__pydantic_validator__
    _check_examples(handler, lambda data: validator.validate_python(json.loads(data)))


def check_event(event: object) -> None:
    """Check an event."""
    if not isinstance(event, type) or not issubclass(event, Event) or not hasattr(event, "type"):
        raise DefinitionError(f"events: expected subclasses of Event with a `type`, got {event!r}")
    _check_examples(event, event.model_validate_json)


def check_error(error: object) -> None:
    """Check an error."""
    if not isinstance(error, type) or not issubclass(error, AppError):
        raise DefinitionError(f"errors: expected subclasses of AppError, got {error!r}")
    if not any("status" in vars(base) for base in error.__mro__[: error.__mro__.index(AppError)]):
        raise DefinitionError(f"{place_of(error)}.status: expected one of 60000 to 69999, got none")
    for number, example in enumerate(_examples_of(error)):
        try:
            ErrorBody(status=error.status, name=error.name, message=example)
        except ValidationError:
            raise DefinitionError(f"{place_of(error)}.examples[{number}]: expected a text, got {example!r}") from None


def merged(what: str, named: Iterable[tuple[Any, type[Any]]]) -> dict[Any, type[Any]]:
    """Return the classes by name; raise `DefinitionError` with both places if two have the same one."""
    found: dict[Any, type[Any]] = {}
    for name, mine in named:
        first = found.setdefault(name, mine)
        if first is not mine:
            raise DefinitionError(
                f"{what} {name!r} is taken twice: by {place_of(first)} and by {place_of(mine)}; change one of them"
            )
    return found


def _check_examples(owner: type[MsgHandler[Any, Any]] | type[Event], validate: Callable[[str], object]) -> None:
    for number, example in enumerate(_examples_of(owner)):
        try:
            validate(json.dumps(example, allow_nan=False))
        except ValidationError as error:
            problem = "; ".join(
                f"`{wrong.field}`: {wrong.message}"
                for wrong in ValidationFailed.from_pydantic(error, "data").details or ()
            )
        except Exception as error:  # an application's schema may raise anything
            problem = f"{type(error).__name__}: {error}"
        else:
            continue
        raise DefinitionError(
            f"{place_of(owner)}.examples[{number}]: expected data that the schema takes, got {problem}"
        )


def _examples_of(owner: type[MsgHandler[Any, Any]] | type[Event] | type[AppError]) -> tuple[Any, ...]:
    if not isinstance(owner.examples, tuple | list):
        raise DefinitionError(
            f"{place_of(owner)}.examples: expected a tuple of examples, got {type(owner.examples).__name__};"
            " a tuple of one ends in a comma"
        )
    return tuple(owner.examples)
