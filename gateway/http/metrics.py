"""`GET /metrics`, for a Prometheus server."""

import secrets

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.http import credentials
from gateway.http.documented_errors import refusals
from gateway.state import GatewayStateDep
from handlers.errors import AuthenticationFailed, NotFound

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Returns the metrics of this process, and of the other workers beside it.",
    response_class=Response,
    responses=refusals(401, 404),
)
async def metrics(request: Request, state: GatewayStateDep) -> Response:
    """Return the metrics of this process and of the workers beside it.

    Outside development, the caller needs `GATEWAY_METRICS_TOKEN`.
    """
    settings = state.settings
    if not settings.development:
        if settings.metrics_token is None:
            raise NotFound("there is nothing at this path")
        given = credentials.bearer(request) or ""
        if not secrets.compare_digest(given.encode(), settings.metrics_token.get_secret_value().encode()):
            raise AuthenticationFailed("send the header Authorization: Bearer with GATEWAY_METRICS_TOKEN")
    from gateway.metrics.text import CONTENT_TYPE_LATEST  # which most processes never need
    from gateway.metrics.workers import text

    return Response(await text(state), media_type=CONTENT_TYPE_LATEST)
