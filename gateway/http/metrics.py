"""`GET /metrics`, for a Prometheus server."""

import secrets

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.http import credentials
from gateway.state import GatewayStateDep
from handlers.errors import AuthenticationFailed, NotFound

router = APIRouter(tags=["health"])


@router.get("/metrics", summary="Returns the metrics of this process.", response_class=Response)
async def metrics(request: Request, state: GatewayStateDep) -> Response:
    """Return the metrics of this process. Outside development, the caller needs `GATEWAY_METRICS_TOKEN`."""
    settings = state.settings
    if not settings.development:
        if settings.metrics_token is None:
            raise NotFound("there is nothing at this path")
        given = credentials.bearer(request) or ""
        if not secrets.compare_digest(given.encode(), settings.metrics_token.get_secret_value().encode()):
            raise AuthenticationFailed("send the header Authorization: Bearer with GATEWAY_METRICS_TOKEN")
    from gateway.metrics.text import CONTENT_TYPE_LATEST, render  # which most processes never need

    await state.database.health.check()
    return Response(render(state), media_type=CONTENT_TYPE_LATEST)
