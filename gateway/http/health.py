"""`/healthz`: the process runs. `/readyz`: it can serve."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from starlette.responses import JSONResponse

from gateway.services import ServicesDep
from handlers.errors import Unavailable
from schemas.base import Wire

router = APIRouter(tags=["health"])

PROBE_SECONDS = 2


class Health(Wire):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(Wire):
    """Whether each part is there."""

    status: Literal["ready", "not_ready"]
    store: Literal["up", "down"]


@router.get("/healthz")
async def healthz() -> Health:
    """Answer as long as the process runs."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}}, response_model=Readiness)
async def readyz(services: ServicesDep) -> JSONResponse:
    """Answer 200 if messages can be served, and otherwise 503 with the part that is down."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await services.database.ping()
    except (Unavailable, TimeoutError):
        return JSONResponse(Readiness(status="not_ready", store="down").model_dump(), status_code=503)
    return JSONResponse(Readiness(status="ready", store="up").model_dump())
