"""The lifespan of an application that builds on the gateway, and the state that its handlers share."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

logger = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[object]]
"""Opens what handlers share, yields it, and closes it again, as a lifespan of FastAPI does."""


def own_lifespan(lifespan: Lifespan | None, state: object) -> Lifespan:
    """Return the lifespan to run; raises `TypeError` for a wrong one, or for a state beside it."""
    if lifespan is None:
        return lambda _: _holding(state)
    if state is not None:
        raise TypeError("expected `lifespan` or `state`, got both: yield the state from the lifespan")
    if not callable(lifespan):
        raise TypeError(f"lifespan: expected a function with @asynccontextmanager, got {lifespan!r}")
    return lambda app: _contained(lifespan, app)


def request_state(state: object, app_state: object) -> dict[str, object]:
    """Return what a request finds in its `state`: ours, and as in Starlette each key of a mapping that was yielded.

    Raises `TypeError` for a key that is ours.
    """
    ours = {"gateway": state, "app_state": app_state}
    yielded = dict(app_state) if isinstance(app_state, Mapping) else {}
    if taken := yielded.keys() & ours.keys():
        raise TypeError(f"lifespan: expected another key than {min(taken)!r}, which is the gateway's own")
    return yielded | ours


@asynccontextmanager
async def _holding(state: object) -> AsyncIterator[object]:
    yield state


@asynccontextmanager
async def _contained(lifespan: Lifespan, app: FastAPI) -> AsyncIterator[object]:
    """Run a lifespan: what it raises before its `yield` stops the start, what it raises after that is logged."""
    stack = AsyncExitStack()
    own = lifespan(app)
    if not isinstance(own, AbstractAsyncContextManager):
        raise TypeError(f"lifespan: expected a function with @asynccontextmanager, got one that returns {own!r}")
    state = await stack.enter_async_context(own)
    try:
        yield state
    finally:
        try:
            await stack.aclose()
        except Exception:  # all that the gateway has built is still to be closed
            logger.exception("the application's own lifespan failed at its end")
