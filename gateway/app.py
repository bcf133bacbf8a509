"""The application: its routes and middleware around the parts that `composition` builds."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI

from gateway import __version__
from gateway.api import batch, calls, incoming, members, messages, presence, publish, rooms
from gateway.api import connections as api_connections
from gateway.api import users as api_users
from gateway.api.incoming import MAX_HOOK_BODY_BYTES
from gateway.api.strict_route import MAX_API_BODY_BYTES
from gateway.auth.external.app_authorizers import AppAuthorizer, check_authorizers
from gateway.chat import endpoint
from gateway.chat.fast_route import FastWebSocketApp, Running
from gateway.chat.workers import endpoint as workers_endpoint
from gateway.composition import running_state
from gateway.config.allowed_origins import AllowedOrigins
from gateway.config.extensions import extended
from gateway.config.proxies import TrustedProxies
from gateway.config.settings import Settings, load_settings, warn_of_unknown_names
from gateway.core.clock import Clock, SystemClock
from gateway.core.folding import client_log
from gateway.http import (
    api_documentation,
    client_modules,
    console,
    documents,
    exports,
    health,
    introspection,
    metrics,
    revocation,
    sessions,
    tickets,
    token,
    users,
    well_known,
)
from gateway.http.cors import PageAccess
from gateway.http.errors import add_error_handlers
from gateway.http.framing import Framing
from gateway.http.middleware import RequestContext
from gateway.http.oauth import InvalidRequest, invalid_request
from gateway.http.request_rate import RequestRate
from gateway.http.shared_routes import shared_routes
from gateway.http.wrong_place import nothing_here
from gateway.lifespan import Lifespan, own_lifespan, request_state
from gateway.routes.model import Route
from gateway.routes.reloader import RoutesReloader
from handlers.factory import MsgHandlerFactory
from handlers.registry import BUILT_IN, Handlers, Registry, registry_of

MAX_BODY_BYTES = 16 * 1024

# The order is that of the API's description, in each of its sections.
_ROUTERS = (
    token.router,
    revocation.router,
    introspection.router,
    tickets.router,
    well_known.router,
    well_known.metadata_router,
    users.router,
    sessions.router,
    health.router,
    metrics.router,
    client_modules.router,
)
_LOG_IN_ROUTERS = (token.router, revocation.router, introspection.router, sessions.router, well_known.metadata_router)
_SERVICE_ROUTERS = (
    publish.router,
    rooms.router,
    members.router,
    messages.router,
    api_connections.router,
    api_users.router,
    presence.router,
    batch.router,
)


def create_app(
    settings: Settings | None = None,
    *,
    registry: Registry | Handlers = BUILT_IN,
    lifespan: Lifespan | None = None,
    state: object = None,
    authorizers: Mapping[str, AppAuthorizer] | None = None,
    clock: Clock | None = None,
) -> FastWebSocketApp:
    """Return a new gateway. It opens nothing before its start, so a process may make any number of them.

    `registry` has the messages. Add yours with `BUILT_IN | Registry(handlers={"dice.roll": RollHandler})`. A bare
    mapping is a complete table of handlers. `GATEWAY_REGISTRY` and the entry points of installed packages add to both.
    `lifespan` runs while the gateway runs, inside the gateway's own. Handlers find what it yields as
    `self.session.state`, and routes as `request.state.app_state`. `state` does the same without a lifespan.
    `authorizers` are your own checks of credentials, by the name in `?service=`.

    Raise `StartError` for wrong settings in the environment, a wrong routes file, a wrong name of an authorizer, or an
    addition that cannot be made. Raise `DefinitionError`, a `TypeError`, for an unusable registry, and `TypeError` for
    a wrong `lifespan` or authorizer.
    """
    if settings is None:
        settings = load_settings()
        warn_of_unknown_names()
    factory = MsgHandlerFactory(extended(registry_of(registry), settings.registry))
    own = own_lifespan(lifespan, state)
    checks = dict(authorizers or {})
    check_authorizers(checks, settings)
    first_routes = RoutesReloader(
        settings, factory.registry
    ).current  # raises for a wrong file, a line for each mistake

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        async with running_state(settings, factory, clock or SystemClock(), checks) as gateway:
            app.running = Running(gateway, asyncio.get_running_loop())
            gateway.routes.on_change(lambda _: app.describe_anew())
            try:
                async with own(app) as app_state:
                    # The ASGI server keeps this, and passes it to each request and connection as its `state`.
                    yield request_state(replace(gateway, app_state=app_state), app_state)
            finally:
                app.running = None

    def described(document: dict[str, Any]) -> dict[str, Any]:
        from gateway.api.openapi import describe  # which most processes never need

        return describe(document, factory.registry, current_routes())

    def current_routes() -> tuple[Route, ...]:
        return (first_routes if app.running is None else app.running.state.routes.current).routes

    app = FastWebSocketApp(
        (endpoint.router, workers_endpoint.router),
        proxies=TrustedProxies(settings.trusted_proxies),
        proxy_path=settings.root_path,
        describe=described,
        registry=factory.registry,
        current_routes=current_routes,
        title="json-gateway",
        summary="A JWT-secured JSON gateway.",
        description="**Authorize** at `/docs` logs in, and each request can be tried there. A client then opens the"
        " WebSocket `/ws/chat` with the token of `POST /token`.",
        version=__version__,
        lifespan=running,
        # Otherwise `DELETE /users/me/sessions/`, with an empty id, would end all sessions.
        redirect_slashes=False,
        # FastAPI's own spans and logs would have paths, queries and bodies, and so keys and messages.
        telemetry={"tracing": False, "logs": False},
        openapi_url="/openapi.json" if settings.development else None,
        docs_url=None,
        redoc_url=None,
    )
    add_error_handlers(app)
    app.add_exception_handler(InvalidRequest, invalid_request)
    app.router.default = nothing_here
    # The limits are for these routes only. An application's own routes may accept any size. Those for programs come
    # first: a request tries one route after the other, and programs send the most.
    app.include_router(calls.router)  # it checks the size itself
    for router in _SERVICE_ROUTERS:
        app.router.routes.extend(shared_routes(router, MAX_API_BODY_BYTES))
    app.router.routes.extend(shared_routes(incoming.router, MAX_HOOK_BODY_BYTES))
    for router in _routers(settings):
        app.router.routes.extend(shared_routes(router, MAX_BODY_BYTES))
    app.add_middleware(RequestRate)  # inside the middleware that lets pages read its answers
    app.add_middleware(PageAccess, origins=AllowedOrigins(settings.allowed_origins), log=client_log())
    app.add_middleware(Framing)
    app.add_middleware(RequestContext, root_path=settings.root_path)
    return app


def _routers(settings: Settings) -> Iterator[APIRouter]:
    logs_in = settings.token_endpoint == "on"  # noqa: S105 - a switch
    yield from (router for router in _ROUTERS if logs_in or router not in _LOG_IN_ROUTERS)
    if settings.development:
        yield console.router
        yield documents.router
        yield api_documentation.router
        yield exports.router
