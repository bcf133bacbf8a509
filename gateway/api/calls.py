"""`POST /call/{type}`: a message over HTTP, for programs that hold no connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.event_stream import EventStream, asks_for_events
from gateway.auth.authorizers import AuthResult, authorize
from gateway.chat.call_session import CallSession
from gateway.config.external_services import LOCAL
from gateway.core import costs, strict_json
from gateway.core.client_info import address_of
from gateway.http.authentication import bearer_of
from gateway.http.bodies import check_json
from gateway.state import GatewayState, state_of
from handlers.errors import BadFrame, RateLimited, TooLarge


async def call(request: Request) -> ASGIApp:
    """Handle a message with the body as its `data`. Return the `data` of its reply, or a stream of its chunks."""
    request.scope["route"] = router.routes[0]  # for the metrics; FastAPI's own routes do this
    state = state_of(request)
    request.scope["route"] = router.routes[0]  # as FastAPI does for its own
    auth = await _authenticate(request, state)
    session = CallSession(auth, address_of(request), state)
    session.admit()
    kind = request.path_params["type"]
    if asks_for_events(request.headers.get("accept", "")):

        async def stream(_: Scope, receive: Receive, send: Send) -> None:
            async with _admitted(request, session) as data:
                await EventStream(receive, send).run(lambda send_chunk: session.answer(kind, data, send_chunk))

        return stream
    async with _admitted(request, session) as data:
        answer = await session.answer(kind, data)
    return Response(answer, media_type="application/json")


@asynccontextmanager
async def _admitted(request: Request, session: CallSession) -> AsyncIterator[object]:
    """Take a place among the calls of the user, read the body and pay for it. Yield the data."""
    state = session.gateway
    with state.calls.acquire(session.user_id) as may_run:
        if not may_run:
            raise RateLimited(f"calls of this user at a time, the limit is {state.settings.max_connections_per_user}")
        text = await _text(request, state.settings.max_message_bytes)
        session.charge(max(0.0, costs.of_text(text) - 1))
        yield _decoded(text, state.settings.max_json_depth)


async def _authenticate(request: Request, state: GatewayState) -> AuthResult:
    """Check the credential with the named service. Only the `Authorization` header counts."""
    service = request.query_params.get("service", LOCAL)
    if service != LOCAL:
        # An external service may have to answer, as for a connection.
        state.connections.check_connection_rate(address_of(request))
    return await authorize(state.authorizers, service, bearer_of(request))


router = APIRouter()
# Not one of FastAPI's routes: solving its parameters would take a quarter of the call. A type may have a slash.
# An answer is any ASGI application.
router.add_route("/call/{type:path}", call, methods=["POST"], include_in_schema=False)  # type: ignore[arg-type]


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
