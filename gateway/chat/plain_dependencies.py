"""Solves the dependencies of an endpoint without FastAPI, if all of them are plain.

FastAPI takes a fifth of a whole connection for the two of `/ws/chat`. It looks through the path, the query, the headers
and the cookies for each, whether or not anything of them is asked for. Plain is the WebSocket itself, a text of the
query that may be missing, and `Depends` of a coroutine function with plain parameters. With anything else, FastAPI
solves all of them.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args, get_origin

from fastapi import Depends
from fastapi.params import Query

from gateway.chat.websocket import GatewayWebSocket

Call = Callable[..., Awaitable[Any]]


class _NotPlain(Exception):
    """Something that only FastAPI can solve."""


@dataclass(frozen=True)
class PlainDependencies:
    """What a function depends on, by the names of its parameters."""

    values: dict[str, Callable[[GatewayWebSocket], object]]
    calls: dict[str, tuple[Call, "PlainDependencies"]]

    @classmethod
    def of(cls, call: Call) -> Self | None:
        """Return the dependencies of a function, or None if FastAPI has to solve them."""
        try:
            found = cls._of(call)
        except _NotPlain:
            return None
        calls = list(found._all_calls())
        # FastAPI calls a function that is used twice only once.
        return found if len(calls) == len(set(calls)) else None

    @classmethod
    def _of(cls, call: Call) -> Self:
        if not inspect.iscoroutinefunction(call):
            raise _NotPlain
        found = cls({}, {})
        for parameter in inspect.signature(call, eval_str=True).parameters.values():
            used = _dependency_of(parameter)
            if used is None:
                found.values[parameter.name] = _value_of(parameter)
            else:
                found.calls[parameter.name] = used, cls._of(used)
        return found

    async def solve(self, ws: GatewayWebSocket) -> dict[str, Any]:
        """Return the function's arguments, or raise what a dependency raises."""
        arguments: dict[str, Any] = {}
        for name, (call, needed) in self.calls.items():
            arguments[name] = await call(**await needed.solve(ws))
        for name, value_of in self.values.items():
            arguments[name] = value_of(ws)
        return arguments

    def _all_calls(self) -> Iterator[Call]:
        for call, needed in self.calls.values():
            yield call
            yield from needed._all_calls()


def _dependency_of(parameter: inspect.Parameter) -> Call | None:
    """Return the function that a parameter depends on, or None if it depends on none."""
    if get_origin(parameter.annotation) is not Annotated or parameter.default is not parameter.empty:
        return None
    _, *marks = get_args(parameter.annotation)
    found: Call | None = getattr(marks[0], "dependency", None)
    return found if found is not None and marks == [Depends(found)] else None


def _value_of(parameter: inspect.Parameter) -> Callable[[GatewayWebSocket], object]:
    """Return a function that reads a parameter's value, or raise `_NotPlain`."""
    annotation = parameter.annotation
    if isinstance(annotation, type) and issubclass(GatewayWebSocket, annotation):
        return _the_websocket
    if annotation == str | None and parameter.default is None:
        return _text_of_query(parameter.name)
    if get_origin(annotation) is Annotated and parameter.default is None:
        of, *marks = get_args(annotation)
        if of == str | None and len(marks) == 1 and _is_without_conditions(marks[0]):
            return _text_of_query(parameter.name)
    raise _NotPlain


def _is_without_conditions(mark: object) -> bool:
    return type(mark) is Query and not mark.metadata and mark.alias is None and mark.validation_alias is None


def _the_websocket(ws: GatewayWebSocket) -> GatewayWebSocket:
    return ws


def _text_of_query(name: str) -> Callable[[GatewayWebSocket], object]:
    return lambda ws: ws.query_params.get(name)
