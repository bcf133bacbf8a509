"""Replies with JSON that is ready before they are made.

A page of messages is encoded once, when its messages arrive, and not again for every client. For a handler it is an
ordinary reply all the same: it is decoded at the first look inside, which most handlers never take.
"""

from copy import copy, deepcopy
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


class Encoded:
    """The mark of replies with ready JSON."""


def encoded(model: type[Model], text: bytes) -> Model:
    """Return the value of a model that its JSON stands for, to be sent as this text. The JSON must be valid."""
    value = object.__new__(_encoded_form(model))
    object.__setattr__(value, _PLACE, text)
    return cast("Model", value)


def ready_json(value: object) -> bytes | None:
    """Return the JSON of a reply that has it ready, or None for any other value."""
    # `type`, since a look at `__class__` would decode it.
    return _text_of(value) if issubclass(type(value), Encoded) else None


_PLACE = "__pydantic_private__"
"""A slot of every model. Ours have no private attributes, so nothing else is there."""


def _text_of(value: object) -> bytes:
    text: bytes = object.__getattribute__(value, _PLACE)
    return text


@cache
def _encoded_form(model: type[Model]) -> type[Model]:
    def look_inside(value: Any, name: str) -> Any:
        _decode(value, model)
        return getattr(value, name)

    def copy_of(value: Any, memo: Any = None) -> Any:
        _decode(value, model)
        return copy(value) if memo is None else deepcopy(value, memo)

    methods = {"__getattribute__": look_inside, "__copy__": copy_of, "__deepcopy__": copy_of}
    return type(model.__name__, (model, Encoded), {"__module__": model.__module__, **methods})


def _decode(value: object, model: type[BaseModel]) -> None:
    """Make it an ordinary value of its model."""
    decoded = model.model_validate_json(_text_of(value))
    object.__setattr__(value, "__class__", model)
    for place in BaseModel.__slots__:
        object.__setattr__(value, place, getattr(decoded, place))
