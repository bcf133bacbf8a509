"""What the application has built, handed to whoever serves a request or a connection."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.auth.authorizers import Authorizer
from gateway.auth.password_login import PasswordLogin
from gateway.auth.passwords import Passwords
from gateway.auth.sessions import LoginSessions
from gateway.auth.tickets import Tickets
from gateway.auth.tokens import Tokens
from gateway.bus.base import Bus
from gateway.cluster.build import ClusterState
from gateway.config.allowed_origins import AllowedOrigins
from gateway.config.settings import Settings
from gateway.connections.registry import Connections
from gateway.core.clock import Clock
from gateway.core.concurrency import ConcurrencyLimit
from gateway.core.counters import Counters
from gateway.core.folding import FoldedLog
from gateway.core.timers import TimerWheel
from gateway.rooms.hooks import Hooks
from gateway.rooms.hub import Hub
from gateway.rooms.log import Log
from gateway.rooms.presence import Presence
from gateway.rooms.reconciler import Reconciler
from gateway.rooms.removal import RoomRemover
from gateway.rooms.typing import Typing
from gateway.store.engine import Database
from handlers.factory import MsgHandlerFactory


@dataclass(frozen=True, repr=False)
class GatewayState:
    """One of each. Built by `gateway.app` and by nobody else.

    It is in the `state` of every ASGI scope, which uvicorn writes down at level trace; so it has no telling `repr`.
    """

    settings: Settings
    clock: Clock
    database: Database
    passwords: Passwords
    tokens: Tokens
    password_login: PasswordLogin
    login_sessions: LoginSessions
    authorizers: dict[str, Authorizer]
    tickets: Tickets
    origins: AllowedOrigins
    client_log: FoldedLog
    """Where to log what a client can cause as often as it likes."""
    unauthenticated: ConcurrencyLimit
    """Where connections are counted that have not logged in yet, by address."""
    connections: Connections
    cluster: ClusterState
    """What this node knows of all nodes."""
    bus: Bus
    hub: Hub
    reconciler: Reconciler
    log: Log
    presence: Presence
    room_remover: RoomRemover
    typing: Typing
    timers: TimerWheel
    factory: MsgHandlerFactory
    hooks: Hooks
    counters: Counters
    app_state: object = None
    """What the handlers of an application share: their `session.state`."""


def state_of(connection: HTTPConnection) -> GatewayState:
    """Find the services of the application that serves this request or WebSocket."""
    found: GatewayState = connection.state.gateway
    return found


async def gateway_state(connection: HTTPConnection) -> GatewayState:
    """Do what `state_of` does, as a dependency. Not async, FastAPI would call it in a thread, each time."""
    return state_of(connection)


GatewayStateDep = Annotated[GatewayState, Depends(gateway_state)]
