"""The parts that the application has built, for the code that serves requests and connections."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.auth.authorizers import Authorizer
from gateway.auth.keys.key_ring import KeyReloader
from gateway.auth.password_login import PasswordLogin
from gateway.auth.passwords import Passwords
from gateway.auth.services import Services
from gateway.auth.sessions import LoginSessions
from gateway.auth.tickets import Tickets
from gateway.auth.tokens import Tokens
from gateway.auth.user_rights import UserRightsReader
from gateway.bus.base import Bus
from gateway.cluster.build import ClusterState
from gateway.cluster.node_calls import NodeCalls
from gateway.config.allowed_origins import AllowedOrigins
from gateway.config.settings import Settings
from gateway.connections.registry import Connections
from gateway.core.audit import Audit
from gateway.core.clock import Clock
from gateway.core.concurrency import ConcurrencyLimit
from gateway.core.counters import Counters
from gateway.core.folding import FoldedLog
from gateway.core.local_socket import LocalSocket
from gateway.core.loop_lag import LoopLag
from gateway.core.portions import Portions
from gateway.core.request_watch import RequestWatch
from gateway.core.taps import Taps
from gateway.core.timers import TimerWheel
from gateway.core.tracing import Tracing
from gateway.core.turns import Turns
from gateway.rooms.appending import Appender
from gateway.rooms.connection_directory import ConnectionDirectory
from gateway.rooms.finder import RoomFinder
from gateway.rooms.hooks import Hooks
from gateway.rooms.hub import Hub
from gateway.rooms.log import Log
from gateway.rooms.presence import Presence
from gateway.rooms.reconciler import Reconciler
from gateway.rooms.removal import RoomRemover
from gateway.rooms.retention import Retention
from gateway.rooms.service_changes import ServiceRooms
from gateway.rooms.service_senders import AppSenders
from gateway.rooms.signals import Signals
from gateway.rooms.typing import Typing
from gateway.routes.reloader import RoutesReloader
from gateway.store.engine import Database
from gateway.transport.newcomers import Newcomers
from gateway.upstream.authorize import AuthorizeService
from gateway.upstream.upstreams import Upstreams
from gateway.upstream.workers import Workers
from gateway.webhooks.webhooks import Webhooks
from handlers.factory import MsgHandlerFactory


@dataclass(frozen=True, repr=False)
class GatewayState:
    """One object of each kind. Only `gateway.composition` builds it.

    It is in the `state` of every ASGI scope, which uvicorn logs at level trace. So its `repr` shows nothing.
    """

    settings: Settings
    clock: Clock
    database: Database
    passwords: Passwords
    tokens: Tokens
    password_login: PasswordLogin
    login_sessions: LoginSessions
    services: Services
    user_rights: UserRightsReader
    authorizers: dict[str, Authorizer]
    tickets: Tickets
    origins: AllowedOrigins
    client_log: FoldedLog
    """The log for events that a client can cause at will."""
    unauthenticated: ConcurrencyLimit
    """Counts the connections before their log-in, by address."""
    calls: ConcurrencyLimit
    """Counts the messages over HTTP that are being handled, by user."""
    turns: Turns
    chunk_portions: Portions
    """Bounds how many chunks of all streams go out in one turn of the event loop."""
    newcomers: Newcomers
    connections: Connections
    cluster: ClusterState
    """What this node knows of all nodes."""
    node_calls: NodeCalls
    """Questions to other nodes, and their answers."""
    workers: Workers
    """The workers that serve routes, on all nodes."""
    audit: Audit
    bus: Bus
    hub: Hub
    directory: ConnectionDirectory
    """The connections of all nodes."""
    room_finder: RoomFinder
    reconciler: Reconciler
    log: Log
    appender: Appender
    """Adds pieces to messages that grow."""
    presence: Presence
    room_remover: RoomRemover
    service_rooms: ServiceRooms
    """What services do in rooms."""
    app_senders: AppSenders
    """The services that the application's own code speaks as."""
    upstreams: Upstreams
    """The services behind routes."""
    typing: Typing
    signals: Signals
    """Which rooms take signals."""
    timers: TimerWheel
    factory: MsgHandlerFactory
    hooks: Hooks
    authorize: AuthorizeService | None
    """Asks the service of `[authorize]` in the routes file, if there is such a file."""
    key_reloader: KeyReloader
    routes: RoutesReloader
    """The routes in use are its `current`."""
    request_watch: RequestWatch
    """What `gateway doctor` asks about."""
    tracing: Tracing | None
    """What makes spans, if anything does."""
    webhooks: Webhooks
    """Events for other services."""
    counters: Counters
    loop_lag: LoopLag
    retention: Retention
    local_socket: LocalSocket
    """Questions of other processes of this machine, such as `gateway status`."""
    taps: Taps
    """What `gateway tail` shows."""
    app_state: object = None
    """What the handlers of an application share: their `session.state`."""


def state_of(connection: HTTPConnection) -> GatewayState:
    """Return the state of the gateway that serves this request or WebSocket."""
    found: GatewayState = connection.scope["state"]["gateway"]
    return found


async def gateway_state(connection: HTTPConnection) -> GatewayState:
    """Return `state_of`, as a dependency. It is async because FastAPI would call a plain function in a thread."""
    return state_of(connection)


GatewayStateDep = Annotated[GatewayState, Depends(gateway_state)]
