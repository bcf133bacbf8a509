"""`POST /call/{type}`: a message over HTTP, for programs that hold no connection."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from gateway.auth.authorizers import AuthResult, authorize
from gateway.chat.call_session import CallSession
from gateway.config.external_services import LOCAL
from gateway.core import costs, strict_json
from gateway.core.client_info import address_of
from gateway.http.authentication import bearer_of
from gateway.http.bodies import check_json
from gateway.state import GatewayStateDep, state_of
from handlers.errors import BadFrame, RateLimited, TooLarge

router = APIRouter(include_in_schema=False)


async def caller(connection: HTTPConnection, service: Annotated[str, Query()] = LOCAL) -> AuthResult:
    """Check the credential of a call with the named service. Only the `Authorization` header counts."""
    state = state_of(connection)
    if service != LOCAL:
        # An external service may have to answer, as for a connection.
        state.connections.check_connection_rate(address_of(connection))
    return await authorize(state.authorizers, service, bearer_of(connection))


# A type may be any text, so it may have a slash.
@router.post("/call/{type:path}")
async def call(
    type: str, request: Request, auth: Annotated[AuthResult, Depends(caller)], state: GatewayStateDep
) -> Response:
    """Handle a message, whose `data` is the body, and return the `data` of its reply."""
    session = CallSession(auth, address_of(request), state)
    session.admit()
    with state.calls.acquire(auth.user_id) as may_run:
        if not may_run:
            raise RateLimited(f"calls of this user at a time, the limit is {state.settings.max_connections_per_user}")
        text = await _text(request, state.settings.max_message_bytes)
        session.charge(max(0.0, costs.of_text(text) - 1))
        data = _decoded(text, state.settings.max_json_depth)
        return Response(await session.answer(type, data), media_type="application/json")


async def _text(request: Request, limit: int) -> str:
    """Return the body, which is empty or JSON."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(_declared_size(request) or len(body), limit)
    if body:
        check_json(request)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadFrame("expected JSON in UTF-8") from None


def _declared_size(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() and len(declared) < 20 else 0


def _decoded(text: str, max_depth: int) -> object:
    if not text or text.isspace():
        return {}
    try:
        return strict_json.loads(text, max_depth=max_depth)
    except strict_json.NotStrictJson as error:
        raise BadFrame(f"expected JSON, but {error}") from None
