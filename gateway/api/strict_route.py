"""A route for services: it authenticates before it reads a body, and reads JSON as strictly as the socket does."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.caller import CALLER, Caller
from gateway.core import strict_json
from gateway.core.client_info import client_info_of
from gateway.core.strict_json import NotStrictJson
from gateway.http.authentication import authenticate_service
from gateway.http.bodies import check_json, has_body
from gateway.state import state_of

MAX_API_BODY_BYTES = 1024 * 1024
"""The most bytes of a body: a batch holds a hundred items."""

Serve = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request with a body of strict JSON."""

    async def json(self) -> Any:
        """Return the value of the body. Raise `HTTPException` for a body that is no strict JSON."""
        try:
            text = (await self.body()).decode()
        except UnicodeDecodeError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "expected JSON in UTF-8") from None
        try:
            return strict_json.loads(text, max_depth=state_of(self).settings.max_json_depth)
        except NotStrictJson as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None


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
            return await serve(StrictRequest(request.scope, request.receive))

        return serve_service
