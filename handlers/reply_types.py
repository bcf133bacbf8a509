"""The types of a handler's reply and chunks, for documents.

The reply is the second parameter of `MsgHandler[In, Out, State]`. A streaming handler annotates its chunks:
`async def handle(self, data: In) -> AsyncIterator[str | Reply]`.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from typing_extensions import get_original_bases

from handlers.base import MsgHandler
from handlers.streaming import Chunk, Reply


def reply_type(handler: type[MsgHandler[Any, Any]]) -> Any:
    """Return the type of the reply, or None if neither the class nor the annotation of `handle` says it.

    A base class of the handler may say it too, and a generic one may take it as a parameter.
    """
    found = _reply_in(handler, {})
    if found is None and not handler.streams:
        with suppress(Exception):  # an annotation may name what exists only for type checkers
            found = get_type_hints(handler.handle).get("return")
    return None if isinstance(found, TypeVar) or _parameters_of(found) else found


def chunk_type(handler: type[MsgHandler[Any, Any]]) -> Any:
    """Return the type of the chunks of a streaming handler, or `Any` if its annotation does not say it."""
    found: Any = None
    with suppress(Exception):
        found = get_type_hints(handler.handle).get("return")
    [yielded] = get_args(found)[:1] or [Any]
    if yielded == Chunk or isinstance(yielded, TypeVar) or _parameters_of(yielded):
        return Any
    if get_origin(yielded) in (Union, UnionType):
        kinds = [kind for kind in get_args(yielded) if kind is not Reply]
        return reduce(or_, kinds)
    return yielded


def _reply_in(handler: type, known: Mapping[Any, Any]) -> Any:
    """Return the reply's type in the bases of a class with known parameters."""
    for base in get_original_bases(handler):
        origin = get_origin(base) or base
        arguments = [_filled(argument, known) for argument in get_args(base)]
        if origin is MsgHandler and arguments:
            return arguments[1]
        if isinstance(origin, type) and issubclass(origin, MsgHandler) and origin is not MsgHandler:
            found = _reply_in(origin, dict(zip(_parameters_of(origin), arguments, strict=False)))
            if found is not None:
                return found
    return None


def _filled(argument: Any, known: Mapping[Any, Any]) -> Any:
    """Return a type with the known parameters in place of its own."""
    if isinstance(argument, TypeVar):
        return known.get(argument, argument)
    if parameters := _parameters_of(argument):
        return argument[tuple(known.get(parameter, parameter) for parameter in parameters)]
    return argument


def _parameters_of(kind: Any) -> tuple[Any, ...]:
    """Return the type variables of a generic type. pydantic keeps those of its models elsewhere."""
    of_model = getattr(kind, "__pydantic_generic_metadata__", {}).get("parameters", ())
    return tuple(dict.fromkeys((*of_model, *getattr(kind, "__parameters__", ()))))
