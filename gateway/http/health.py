"""`/healthz`: the process runs. `/readyz`: it can serve."""

from typing import Literal

from fastapi import APIRouter
from starlette.responses import JSONResponse

from gateway.state import GatewayState, GatewayStateDep
from schemas.base import Wire

router = APIRouter(tags=["health"])


class Health(Wire):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(Wire):
    """The state of each part."""

    status: Literal["ready", "degraded", "not_ready"]
    store: Literal["up", "down"]
    bus: Literal["up", "down"]
    hooks: Literal["up", "degraded"]
    upstreams: Literal["up", "degraded"]
    reason: str | None = None
    """Why the node takes no clients although its parts are well."""


DRAINING = "this node drains: it takes no newcomers"


@router.get("/healthz", summary="Answers as long as the process runs.")
async def healthz() -> Health:
    """Answer as long as the process runs."""
    return Health()


@router.get(
    "/readyz",
    summary="Says whether the gateway can serve messages.",
    responses={503: {"model": Readiness}},
    response_model=Readiness,
    response_model_exclude_none=True,
)
async def readyz(state: GatewayStateDep) -> JSONResponse:
    """Answer 200 if the gateway can serve messages, and otherwise 503, with the state of each part.

    A store that takes no writes is down, since the gateway accepts no message before it is stored.

    Without the bus, messages reach other nodes late. If `GATEWAY_BUS_REQUIRED` is false, that is `degraded`, and 200.

    So is a hook that is disabled, or has so many events waiting that it loses new ones. And so is a route, or the
    service of rights in rooms, whose circuit breaker is open, and a route that no worker serves.

    A node that drains answers 503, with the `reason`.
    """
    readiness = await readiness_of(state)
    found = readiness.model_dump(exclude_none=True)
    return JSONResponse(found, status_code=503 if readiness.status == "not_ready" else 200)


async def readiness_of(state: GatewayState) -> Readiness:
    """Return the state of each part, and of all together."""
    store, bus = await state.database.health.check(), state.bus.is_up
    hooks, upstreams = (
        not state.webhooks.is_degraded,
        state.upstreams.are_up and (state.authorize is None or state.authorize.is_up),
    )
    is_draining = state.connections.is_draining
    cannot_serve = not store or (not bus and state.settings.bus_required) or is_draining
    is_whole = bus and hooks and upstreams
    return Readiness(
        status="not_ready" if cannot_serve else "ready" if is_whole else "degraded",
        store="up" if store else "down",
        bus="up" if bus else "down",
        hooks="up" if hooks else "degraded",
        upstreams="up" if upstreams else "degraded",
        reason=DRAINING if is_draining else None,
    )
