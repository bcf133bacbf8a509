"""The application. This is the only module that builds the parts of a gateway."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI

from gateway import __version__
from gateway.api import batch, calls, incoming, members, messages, presence, publish, rooms
from gateway.api import connections as api_connections
from gateway.api import users as api_users
from gateway.api.incoming import MAX_HOOK_BODY_BYTES
from gateway.api.strict_route import MAX_API_BODY_BYTES
from gateway.auth.authorizers import LocalTokens
from gateway.auth.external.app_authorizers import AppAuthorizer, app_authorizers, check_authorizers
from gateway.auth.external.refusals import noted
from gateway.auth.keys import key_ring
from gateway.auth.keys.key_ring import KeyReloader
from gateway.auth.password_login import PasswordLogin
from gateway.auth.passwords import Passwords
from gateway.auth.services import Services
from gateway.auth.sessions import LoginSessions
from gateway.auth.tickets import Tickets
from gateway.auth.tokens import Tokens
from gateway.auth.user_rights import UserRightsReader
from gateway.bus.base import Bus
from gateway.bus.memory import MemoryBus
from gateway.chat import endpoint
from gateway.chat.fast_route import FastWebSocketApp, Running
from gateway.chat.traced_messages import PassingFactory, TracedFactory
from gateway.chat.workers import endpoint as workers_endpoint
from gateway.cluster.build import build_cluster
from gateway.cluster.node_calls import NodeCalls
from gateway.config.allowed_origins import AllowedOrigins
from gateway.config.bus_url import MEMORY
from gateway.config.extensions import extended
from gateway.config.external_services import LOCAL
from gateway.config.proxies import TrustedProxies
from gateway.config.settings import Settings, load_settings, warn_of_unknown_names
from gateway.connections.group_changes import GroupWatcher
from gateway.connections.registry import Connections
from gateway.connections.revocations import RevocationWatcher
from gateway.core.audit import Audit
from gateway.core.clock import Clock, SystemClock
from gateway.core.concurrency import ConcurrencyLimit
from gateway.core.counters import Counters
from gateway.core.data_dir_lock import lock_data_dir
from gateway.core.folding import client_log
from gateway.core.garbage import measured_pauses
from gateway.core.local_socket import LocalSocket
from gateway.core.logs import guard_logs
from gateway.core.loop_lag import LoopLag
from gateway.core.portions import Portions
from gateway.core.request_watch import QUESTION, RequestWatch
from gateway.core.start_error import StartError, make_data_dir
from gateway.core.taps import Taps
from gateway.core.timers import TimerWheel
from gateway.core.tracing import NO_TRACING, open_tracing
from gateway.core.turns import Turns
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
from gateway.metrics.workers import serve as answer_other_workers
from gateway.operating.questions import answered
from gateway.rooms.appending import Appender
from gateway.rooms.changes import Limits
from gateway.rooms.connection_directory import ConnectionDirectory
from gateway.rooms.finder import RoomFinder
from gateway.rooms.history_reader import HistoryReader
from gateway.rooms.hooks import Hooks
from gateway.rooms.hub import Hub
from gateway.rooms.last_seen import LastSeen
from gateway.rooms.log import Log
from gateway.rooms.membership_changes import RoomQuotas
from gateway.rooms.memory import MemoryLimits, RoomMemory
from gateway.rooms.message_changes import StorageQuotas
from gateway.rooms.outside_events import OutsideEvents
from gateway.rooms.presence import Presence
from gateway.rooms.reconciler import Reconciler
from gateway.rooms.removal import RoomRemover
from gateway.rooms.retention import Retention
from gateway.rooms.service_changes import ServiceRooms
from gateway.rooms.service_senders import AppSenders
from gateway.rooms.signals import Signals
from gateway.rooms.typing import Typing
from gateway.rooms.window import WindowLimits
from gateway.routes.model import Route
from gateway.routes.reloader import RoutesReloader
from gateway.state import GatewayState
from gateway.store.engine import Database
from gateway.transport.newcomers import Newcomers
from gateway.upstream.authorize import AuthorizeService
from gateway.upstream.effects import Effects
from gateway.upstream.upstreams import Upstreams
from gateway.upstream.workers import Workers
from gateway.webhooks.webhooks import Webhooks
from gateway.webhooks.writer import EventWriter
from handlers.factory import MsgHandlerFactory
from handlers.registry import BUILT_IN, Handlers, Registry, registry_of
from handlers.rooms import JoinRoomHandler, ResumeRoomsHandler

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
_TAKE_TURNS = (JoinRoomHandler, ResumeRoomsHandler)
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


@asynccontextmanager
async def running_state(
    settings: Settings,
    factory: MsgHandlerFactory,
    clock: Clock,
    checks: Mapping[str, AppAuthorizer] = MappingProxyType({}),
) -> AsyncIterator[GatewayState]:
    """Build all parts from bottom to top, and close them at the end. Raise `StartError` for the operator's mistakes."""
    guard_logs()
    tracing = open_tracing(settings.tracing)
    spans = tracing or NO_TRACING
    make_data_dir(settings.data_dir)
    ring = key_ring.load_key_ring(settings)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        taps = Taps()
        audit = stack.enter_context(Audit(settings.audit_path, clock, taps))
        database = await enter(Database(settings.store_url, synchronous=settings.sqlite_synchronous))
        await database.upgrade()
        passwords = await enter(Passwords(settings.password_rounds).running())
        timers = stack.enter_context(closing(TimerWheel()))
        counters = Counters()
        loop_lag = stack.enter_context(LoopLag().running())
        stack.enter_context(measured_pauses())
        turns = Turns(partial(counters.handled_but, _TAKE_TURNS))
        newcomers = Newcomers(
            turns,
            clock,
            settings.max_waiting_connections,
            answers_http=settings.handshake_rejection == "http",
        )
        bus = await enter(open_bus(settings))
        if not bus.is_shared:
            stack.enter_context(lock_data_dir(settings.data_dir))
        cluster = await enter(build_cluster(settings, database, clock))
        node_calls = NodeCalls(bus, settings.node_lease_seconds, clock)
        connections = Connections(settings, clock, cluster.roster, newcomers, cluster.buckets)
        last_seen = await enter(LastSeen(database, clock).running())
        presence = Presence(timers, bus, clock, settings.away_minutes * 60, cluster.roster, last_seen, database)
        reader = HistoryReader(database)
        memory = RoomMemory(reader, clock, memory_limits(settings))
        hub = Hub(bus, connections, presence, reader, memory, timers, settings.max_presence_listeners, taps)
        stack.callback(hub.close)
        await bus.start(hub.receive, connections.close_revoked, hub.repair.check_soon)
        limits = Limits(
            StorageQuotas(settings.max_stored_bytes_per_user, settings.max_stored_bytes_per_room),
            RoomQuotas(settings.max_rooms_joined, settings.max_rooms_owned),
            rooms_open=settings.rooms_open,
        )
        doubt = hub.repair.check_soon
        writer = EventWriter(settings.max_events_per_hook)
        log = await enter(Log(database, bus, clock, settings.max_waiting_writes, limits, doubt, writer).running())
        appender = await enter(Appender(log).running())
        reconciler = await enter(Reconciler(hub, bus, settings.sweep_seconds).running())
        room_remover = await enter(RoomRemover(database).running())
        retention = await enter(Retention(settings, database, clock).running())
        await enter(RevocationWatcher(database, connections, clock).running())
        await enter(GroupWatcher(database, connections).running())
        key_reloader = await enter(KeyReloader(settings, ring).running())
        routes = await enter(RoutesReloader(settings, factory.registry).running())
        tokens = Tokens(ring, settings.token_issuer, settings.token_audience, round(settings.token_minutes * 60), clock)
        user_rights = UserRightsReader(database)
        services = await enter(Services(database, tokens, bus, audit, clock).running())
        external = dict(app_authorizers(checks, settings, database, clock))
        if settings.issuers or settings.introspection:
            # Only these gateways need an HTTP client.
            from gateway.auth.external.build import external_authorizers

            external |= await enter(external_authorizers(settings, database, clock))
        external = stack.enter_context(noted(external, audit, clock, counters.credentials_refused))
        workers = await enter(Workers(node_calls, settings.node_lease_seconds).running())
        webhooks = Webhooks(
            bus.node,
            settings.token_issuer,
            database,
            cluster.roster,
            writer,
            clock,
            spans,
            is_alone=not bus.is_shared,
        )
        await enter(webhooks.running())
        routes.on_change(webhooks.use)
        webhooks.use(routes.current)
        directory = ConnectionDirectory(connections, hub, node_calls, clock)
        await enter(node_calls.running())  # the other nodes may ask as soon as they know of this one
        room_finder = RoomFinder(database)
        hooks = Hooks(factory.handlers.values())
        signals = Signals(hub, clock)
        service_rooms = ServiceRooms(
            database, bus, log, appender, hub, connections, room_finder, room_remover, hooks, signals, clock, settings
        )
        authorize = None if settings.routes is None else await enter(AuthorizeService(routes, clock, spans).running())
        effects = Effects(service_rooms, database, settings)
        upstreams = await enter(Upstreams(routes, effects, settings, clock, cluster.buckets, workers, spans).running())
        if tracing is None:
            messages_of: MsgHandlerFactory = PassingFactory(factory.registry, upstreams.handler_of)
        else:
            messages_of = TracedFactory(
                factory.registry,
                upstreams.handler_of,
                tracing=tracing,
                routes=lambda: routes.current,
                node=bus.node,
                details=settings.tracing_details,
            )
        local_socket = LocalSocket()
        OutsideEvents(bus, hub).serve(local_socket)
        request_watch = RequestWatch()
        local_socket.serve(QUESTION, request_watch.seen)
        state = GatewayState(
            settings=settings,
            clock=clock,
            database=database,
            passwords=passwords,
            tokens=tokens,
            password_login=PasswordLogin(
                database,
                passwords,
                cluster.throttle,
                bus,
                audit,
                clock,
                settings.default_scopes,
                settings.default_group,
            ),
            login_sessions=LoginSessions(settings, database, tokens, bus, audit, clock),
            services=services,
            user_rights=user_rights,
            authorizers={
                LOCAL: LocalTokens(
                    tokens, user_rights, counters.credentials_refused, keep_claims=settings.routes is not None
                ),
                **external,
            },
            tickets=Tickets(database, user_rights, clock, settings.max_tickets_per_user),
            origins=AllowedOrigins(settings.allowed_origins),
            client_log=client_log(),
            unauthenticated=ConcurrencyLimit(settings.max_unauthenticated_per_address),
            calls=ConcurrencyLimit(settings.max_connections_per_user),
            turns=turns,
            chunk_portions=Portions(),
            newcomers=newcomers,
            connections=connections,
            cluster=cluster,
            node_calls=node_calls,
            workers=workers,
            audit=audit,
            bus=bus,
            hub=hub,
            directory=directory,
            room_finder=room_finder,
            reconciler=reconciler,
            log=log,
            appender=appender,
            presence=presence,
            room_remover=room_remover,
            service_rooms=service_rooms,
            app_senders=AppSenders(database, audit, clock),
            upstreams=upstreams,
            typing=Typing(timers, bus, clock),
            signals=signals,
            timers=timers,
            factory=messages_of,
            hooks=hooks,
            key_reloader=key_reloader,
            routes=routes,
            authorize=authorize,
            request_watch=request_watch,
            tracing=tracing,
            webhooks=webhooks,
            counters=counters,
            loop_lag=loop_lag,
            retention=retention,
            local_socket=local_socket,
            taps=taps,
        )
        answer_other_workers(state)
        await enter(answered(state))
        yield state


def memory_limits(settings: Settings) -> MemoryLimits:
    """Return the limits of what rooms remember. A window never has more messages than retention keeps."""
    entries = settings.room_window_messages
    if settings.retention_messages:
        entries = min(entries, settings.retention_messages)
    return MemoryLimits(
        WindowLimits(entries, settings.room_window_bytes),
        settings.room_memory_bytes,
        settings.room_memory_seconds,
        settings.retention_days,
    )


def make_bus(settings: Settings) -> Bus:
    """Return the bus of the settings, or raise `StartError` if its package is not installed."""
    if settings.bus_url == MEMORY:
        return MemoryBus()
    try:
        from gateway.bus.redis import RedisBus
        from gateway.bus.redis_client import connect
    except ImportError:
        raise StartError("GATEWAY_BUS_URL: this needs redis-py; pip install 'json-gateway[redis]'") from None
    return RedisBus(connect(settings), settings, secrets.token_hex(8))


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    """Make the bus, and close it at the end. It starts once a hub can receive its events."""
    bus = make_bus(settings)
    try:
        yield bus
    finally:
        await bus.close()


async def check_bus(settings: Settings) -> None:
    """Check that a required bus is available, or raise `StartError` in one line."""
    async with open_bus(settings) as bus:
        if settings.bus_required:
            await bus.check()
