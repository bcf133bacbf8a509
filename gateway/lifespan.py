"""The lifespan of an application that builds on the gateway, and the state that its handlers share."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from gateway.state import GatewayState
from gateway.transport.newcomers import NEWCOMERS

logger = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[object]]
"""Opens what handlers share, yields it, and closes it at the end, like a lifespan of FastAPI."""


def own_lifespan(lifespan: Lifespan | None, state: object) -> Lifespan:
    """Return the lifespan to run. Raise `TypeError` for a wrong one, or for both a lifespan and a state."""
    if lifespan is None:
        return lambda _: _holding(state)
    if state is not None:
        raise TypeError("expected `lifespan` or `state`, got both: yield the state from the lifespan")
    if not callable(lifespan):
        raise TypeError(f"lifespan: expected a function with @asynccontextmanager, got {lifespan!r}")
    return lambda app: _contained(lifespan, app)


def request_state(state: GatewayState, app_state: object) -> dict[str, object]:
    """Return the `state` of requests: the gateway's part and, as in Starlette, each key of a yielded mapping.

    Raise `TypeError` for a key that the gateway itself uses.
    """
    ours = {"gateway": state, "app_state": app_state, NEWCOMERS: state.newcomers}
    yielded = dict(app_state) if isinstance(app_state, Mapping) else {}
    if taken := yielded.keys() & ours.keys():
        raise TypeError(f"lifespan: expected another key than {min(taken)!r}, which is the gateway's own")
    return yielded | ours


@asynccontextmanager
async def _holding(state: object) -> AsyncIterator[object]:
    yield state


@asynccontextmanager
async def _contained(lifespan: Lifespan, app: FastAPI) -> AsyncIterator[object]:
    """Run a lifespan. An error before its `yield` stops the start; a later one is logged."""
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
        except Exception:  # the gateway's own parts must still be closed
            logger.exception("the application's own lifespan failed at its end")
