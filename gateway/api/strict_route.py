"""A route for services: it authenticates before it reads a body, and reads JSON as strictly as the socket does."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.caller import CALLER, Caller
from gateway.core.client_info import client_info_of
from gateway.http.authentication import authenticate_service
from gateway.http.bodies import StrictRequest, check_json, has_body
from gateway.state import state_of

MAX_API_BODY_BYTES = 1024 * 1024
"""The most bytes of a body: a batch holds a hundred items."""

MAX_KEYS = 32
"""The most keys of an object that the gateway checks: several times those of the largest one."""

MAX_OBJECTS = 100
"""As many items as a batch may have. A longer list is refused as a whole."""

Serve = Callable[[Request], Coroutine[Any, Any, Response]]


class ServiceRequest(StrictRequest):
    """A request of a service, whose keys all have a meaning."""

    async def json(self) -> Any:
        """Return the value of the body. Raise `HTTPException` for no strict JSON, and for far too many keys."""
        value = await super().json()
        if _has_many_keys(value):
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"expected objects with at most {MAX_KEYS} keys, got more")
        return value


def _has_many_keys(value: Any) -> bool:
    """Return whether an object that the gateway will check has many keys. It would find each of them wrong.

    The content of a message or an event may have any number.
    """
    if isinstance(value, list):
        return any(_has_many_keys(each) for each in value[:MAX_OBJECTS])
    if not isinstance(value, dict):
        return False
    inner = [value.get(name) for name in ("items", "data", "message")]
    event = value.get("event")
    if isinstance(event, dict) and len(event) > MAX_KEYS:
        return True
    return len(value) > MAX_KEYS or any(_has_many_keys(each) for each in inner)


class ServiceRoute(APIRoute):
    """A route of the API for services.

    A client without a key cannot make the gateway read a body, which may be long. The route itself does what others do
    with dependencies, since FastAPI takes as long for each dependency as all of the check.
    """

    def get_route_handler(self) -> Serve:
        """Return the function that serves a request."""
        serve, takes_json = super().get_route_handler(), self.body_field is not None

        async def serve_service(request: Request) -> Response:
            state = state_of(request)
            auth = await authenticate_service(request)
            state.connections.charge_service(auth.user_id)
            if takes_json and has_body(request):
                check_json(request)
            request.scope[CALLER] = Caller(auth, state, client_info_of(request))
            return await serve(ServiceRequest(request.scope, request.receive))

        return serve_service
