"""The gateway's own routes, which all gateways of a process share.

FastAPI prepares the routes of a router for each application that includes it, before the first request: for ours, that
takes over 0.1 s. A process may make many gateways, as tests do.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from gateway.http.documented_errors import refusals

serving: ContextVar[FastAPI | None] = ContextVar("serving", default=None)
"""The application that serves the request. The middleware sets it."""


class _Overrides:
    """The overrides of dependencies of the application that serves the request."""

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        app = serving.get()
        return {} if app is None else app.dependency_overrides


_prepared: dict[tuple[int, int], APIRouter] = {}
"""Routers that include another one, by its identity and the limit: a router has no hash. Each keeps the other alive."""


def shared_routes(router: APIRouter, max_body_size: int) -> Sequence[BaseRoute]:
    """Return the routes of a router to add to an application's, with a limit of bodies and the refusal of too many."""
    key = (id(router), max_body_size)
    if key not in _prepared:
        including = APIRouter(dependency_overrides_provider=_Overrides())
        including.include_router(router, max_body_size=max_body_size, responses=refusals(429))
        _prepared[key] = including
    return _prepared[key].routes
