"""Builds the parts of one gateway, from bottom to top, and closes them in reverse."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from types import MappingProxyType

from gateway.auth.authorizers import Authorizer, LocalTokens
from gateway.auth.external.app_authorizers import AppAuthorizer, app_authorizers
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
from gateway.bus.build import open_bus
from gateway.chat.traced_messages import PassingFactory, TracedFactory
from gateway.cluster.build import build_cluster
from gateway.cluster.node_calls import NodeCalls
from gateway.config.allowed_origins import AllowedOrigins
from gateway.config.external_services import LOCAL
from gateway.config.settings import Settings
from gateway.connections.group_changes import GroupWatcher
from gateway.connections.registry import Connections
from gateway.connections.revocations import RevocationWatcher
from gateway.core.audit import Audit
from gateway.core.clock import Clock
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
from gateway.core.start_error import make_data_dir
from gateway.core.taps import Taps
from gateway.core.timers import TimerWheel
from gateway.core.tracing import NO_TRACING, open_tracing
from gateway.core.turns import Turns
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
from handlers.rooms import JoinRoomHandler, ResumeRoomsHandler

_TAKE_TURNS = (JoinRoomHandler, ResumeRoomsHandler)


@asynccontextmanager
async def running_state(
    settings: Settings,
    factory: MsgHandlerFactory,
    clock: Clock,
    checks: Mapping[str, AppAuthorizer] = MappingProxyType({}),
) -> AsyncIterator[GatewayState]:
    """Run all parts of a gateway. Raise `StartError` for the operator's mistakes."""
    guard_logs()
    async with AsyncExitStack() as stack:
        parts = _Parts(stack, settings, factory, clock)
        parts.open_process()
        await parts.open_store()
        await parts.open_time()
        await parts.open_cluster()
        await parts.open_rooms()
        await parts.open_credentials(checks)
        await parts.open_services()
        state = parts.state()
        answer_other_workers(state)
        await stack.enter_async_context(answered(state))
        yield state


class _Parts:
    """The parts so far. Each method opens some that need those of the methods before it."""

    def __init__(self, stack: AsyncExitStack, settings: Settings, factory: MsgHandlerFactory, clock: Clock) -> None:
        self.stack = stack
        self.settings = settings
        self.factory = factory
        self.clock = clock

    def open_process(self) -> None:
        """Make what knows of no file, no user and no room."""
        self.tracing = open_tracing(self.settings.tracing)
        self.spans = self.tracing or NO_TRACING
        self.taps = Taps()
        self.counters = Counters()
        self.local_socket = LocalSocket()
        self.request_watch = RequestWatch()
        self.local_socket.serve(QUESTION, self.request_watch.seen)

    async def open_store(self) -> None:
        """Open the data folder and the database, and bring its tables up to date."""
        settings = self.settings
        make_data_dir(settings.data_dir)
        self.ring = key_ring.load_key_ring(settings)
        self.audit = self.stack.enter_context(Audit(settings.audit_path, self.clock, self.taps))
        self.database = await self.stack.enter_async_context(
            Database(settings.store_url, synchronous=settings.sqlite_synchronous)
        )
        await self.database.upgrade()

    async def open_time(self) -> None:
        """Open what shares the time of this process, or measures it: threads for hashes, timers, and turns."""
        self.passwords = await self.stack.enter_async_context(Passwords(self.settings.password_rounds).running())
        enter = self.stack.enter_context
        self.timers = enter(closing(TimerWheel()))
        self.loop_lag = enter(LoopLag().running())
        enter(measured_pauses())
        self.turns = Turns(partial(self.counters.handled_but, _TAKE_TURNS))
        self.newcomers = Newcomers(
            self.turns,
            self.clock,
            self.settings.max_waiting_connections,
            answers_http=self.settings.handshake_rejection == "http",
        )

    async def open_cluster(self) -> None:
        """Open the bus, and what this node knows of the other nodes and of its own connections."""
        settings, enter = self.settings, self.stack.enter_async_context
        self.bus = await enter(open_bus(settings))
        if not self.bus.is_shared:
            self.stack.enter_context(lock_data_dir(settings.data_dir))
        self.cluster = await enter(build_cluster(settings, self.database, self.clock))
        self.node_calls = NodeCalls(self.bus, settings.node_lease_seconds, self.clock)
        self.connections = Connections(settings, self.clock, self.cluster.roster, self.newcomers, self.cluster.buckets)

    async def open_rooms(self) -> None:
        """Open the rooms, and begin to hear the other nodes."""
        settings, database, clock, bus = self.settings, self.database, self.clock, self.bus
        enter = self.stack.enter_async_context
        roster = self.cluster.roster
        last_seen = await enter(LastSeen(database, clock).running())
        self.presence = Presence(self.timers, bus, clock, settings.away_minutes * 60, roster, last_seen, database)
        reader = HistoryReader(database)
        memory = RoomMemory(reader, clock, memory_limits(settings))
        self.hub = Hub(
            bus,
            self.connections,
            self.presence,
            reader,
            memory,
            self.timers,
            settings.max_presence_listeners,
            self.taps,
        )
        self.stack.callback(self.hub.close)
        doubt = self.hub.repair.check_soon
        await bus.start(self.hub.receive, self.connections.close_revoked, doubt)
        self.writer = EventWriter(settings.max_events_per_hook)
        self.log = await enter(
            Log(
                database, bus, clock, settings.max_waiting_writes, change_limits(settings), doubt, self.writer
            ).running()
        )
        self.appender = await enter(Appender(self.log).running())
        self.reconciler = await enter(Reconciler(self.hub, bus, settings.sweep_seconds).running())
        self.room_remover = await enter(RoomRemover(database).running())
        self.retention = await enter(Retention(settings, database, clock).running())
        self.room_finder = RoomFinder(database)
        self.signals = Signals(self.hub, clock)
        OutsideEvents(bus, self.hub).serve(self.local_socket)

    async def open_credentials(self, checks: Mapping[str, AppAuthorizer]) -> None:
        """Open what checks the credentials of users and services, and ends connections without one."""
        settings, database, clock = self.settings, self.database, self.clock
        enter = self.stack.enter_async_context
        await enter(RevocationWatcher(database, self.connections, clock).running())
        await enter(GroupWatcher(database, self.connections).running())
        self.key_reloader = await enter(KeyReloader(settings, self.ring).running())
        minutes = settings.token_minutes
        self.tokens = Tokens(self.ring, settings.token_issuer, settings.token_audience, round(minutes * 60), clock)
        self.user_rights = UserRightsReader(database)
        self.services = await enter(Services(database, self.tokens, self.bus, self.audit, clock).running())
        external = dict(app_authorizers(checks, settings, database, clock))
        if settings.issuers or settings.introspection:
            # Only these gateways need an HTTP client.
            from gateway.auth.external.build import external_authorizers

            external |= await enter(external_authorizers(settings, database, clock))
        refused = self.counters.credentials_refused
        local = LocalTokens(self.tokens, self.user_rights, refused, keep_claims=settings.routes is not None)
        self.authorizers: dict[str, Authorizer] = {
            LOCAL: local,
            **self.stack.enter_context(noted(external, self.audit, clock, refused)),
        }

    async def open_services(self) -> None:
        """Open what goes to other services and comes from them."""
        settings, database, clock = self.settings, self.database, self.clock
        enter = self.stack.enter_async_context
        self.routes = await enter(RoutesReloader(settings, self.factory.registry).running())
        self.workers = await enter(Workers(self.node_calls, settings.node_lease_seconds).running())
        self.webhooks = Webhooks(
            self.bus.node,
            settings.token_issuer,
            database,
            self.cluster.roster,
            self.writer,
            clock,
            self.spans,
            is_alone=not self.bus.is_shared,
        )
        await enter(self.webhooks.running())
        self.routes.on_change(self.webhooks.use)
        self.webhooks.use(self.routes.current)
        self.directory = ConnectionDirectory(self.connections, self.hub, self.node_calls, clock)
        await enter(self.node_calls.running())  # the other nodes may ask as soon as they know of this one
        self.hooks = Hooks(self.factory.handlers.values())
        self.service_rooms = ServiceRooms(
            database,
            self.bus,
            self.log,
            self.appender,
            self.hub,
            self.connections,
            self.room_finder,
            self.room_remover,
            self.hooks,
            self.signals,
            clock,
            settings,
        )
        self.authorize = (
            None if settings.routes is None else await enter(AuthorizeService(self.routes, clock, self.spans).running())
        )
        effects = Effects(self.service_rooms, database, settings)
        self.upstreams = await enter(
            Upstreams(self.routes, effects, settings, clock, self.cluster.buckets, self.workers, self.spans).running()
        )

    def messages(self) -> MsgHandlerFactory:
        """Return the factory of all messages: those of the registry, and those that go to services."""
        registry, upstreams, routes = self.factory.registry, self.upstreams, self.routes
        if self.tracing is None:
            return PassingFactory(registry, upstreams.handler_of)
        return TracedFactory(
            registry,
            upstreams.handler_of,
            tracing=self.tracing,
            routes=lambda: routes.current,
            node=self.bus.node,
            details=self.settings.tracing_details,
        )

    def state(self) -> GatewayState:
        """Return all parts, and make those that need no end."""
        settings, database, clock = self.settings, self.database, self.clock
        return GatewayState(
            settings=settings,
            clock=clock,
            database=database,
            passwords=self.passwords,
            tokens=self.tokens,
            password_login=PasswordLogin(
                database,
                self.passwords,
                self.cluster.throttle,
                self.bus,
                self.audit,
                clock,
                settings.default_scopes,
                settings.default_group,
            ),
            login_sessions=LoginSessions(settings, database, self.tokens, self.bus, self.audit, clock),
            services=self.services,
            user_rights=self.user_rights,
            authorizers=self.authorizers,
            tickets=Tickets(database, self.user_rights, clock, settings.max_tickets_per_user),
            origins=AllowedOrigins(settings.allowed_origins),
            client_log=client_log(),
            unauthenticated=ConcurrencyLimit(settings.max_unauthenticated_per_address),
            calls=ConcurrencyLimit(settings.max_connections_per_user),
            turns=self.turns,
            chunk_portions=Portions(),
            newcomers=self.newcomers,
            connections=self.connections,
            cluster=self.cluster,
            node_calls=self.node_calls,
            workers=self.workers,
            audit=self.audit,
            bus=self.bus,
            hub=self.hub,
            directory=self.directory,
            room_finder=self.room_finder,
            reconciler=self.reconciler,
            log=self.log,
            appender=self.appender,
            presence=self.presence,
            room_remover=self.room_remover,
            service_rooms=self.service_rooms,
            app_senders=AppSenders(database, self.audit, clock),
            upstreams=self.upstreams,
            typing=Typing(self.timers, self.bus, clock),
            signals=self.signals,
            timers=self.timers,
            factory=self.messages(),
            hooks=self.hooks,
            key_reloader=self.key_reloader,
            routes=self.routes,
            authorize=self.authorize,
            request_watch=self.request_watch,
            tracing=self.tracing,
            webhooks=self.webhooks,
            counters=self.counters,
            loop_lag=self.loop_lag,
            retention=self.retention,
            local_socket=self.local_socket,
            taps=self.taps,
        )


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


def change_limits(settings: Settings) -> Limits:
    """Return the quotas that a change of a room must keep within."""
    return Limits(
        StorageQuotas(settings.max_stored_bytes_per_user, settings.max_stored_bytes_per_room),
        RoomQuotas(settings.max_rooms_joined, settings.max_rooms_owned),
        rooms_open=settings.rooms_open,
    )
