"""The service that calls a route, with what its operation needs."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from gateway.auth.services import ServiceAuth
from gateway.core.client_info import ClientInfo
from gateway.http.authentication import ServiceAuthentication
from gateway.rooms.service_changes import ServiceRooms
from gateway.rooms.service_senders import ServiceSender
from gateway.state import GatewayState
from handlers.errors import Forbidden

CALLER = "service_caller"
"""The place in a request's scope where the route puts the service, before it reads the body."""


@dataclass(frozen=True)
class Caller:
    """A service, and the gateway that serves it."""

    auth: ServiceAuth
    state: GatewayState
    client: ClientInfo
    """Where its request comes from."""
    key: str | None = None
    """What makes a message of this request the same as that of an earlier one."""

    @property
    def sender(self) -> ServiceSender:
        """Return the service as the sender of messages."""
        return ServiceSender(self.auth.user_id, self.auth.sender)

    @property
    def rooms(self) -> ServiceRooms:
        """Return what services do in rooms."""
        return self.state.service_rooms

    def check(self, scope: str, room: str | None = None) -> None:
        """Raise `Forbidden` unless the service has a scope, and may use a room."""
        self.auth.check_scope(scope)
        if room is not None:
            self.auth.check_room(room)

    def check_everywhere(self, scope: str) -> None:
        """Raise `Forbidden` unless the service has a scope, and may use every room."""
        self.auth.check_scope(scope)
        if self.auth.rooms is not None:
            allowed = " ".join(self.auth.rooms.texts)
            raise Forbidden(f"this concerns all rooms, and this service may use the rooms {allowed} only")

    def charge(self, further: int) -> None:
        """Count what a request does besides its first target or operation, or raise `RateLimited`."""
        if further > 0:
            self.state.connections.charge_service(self.auth.user_id, further)

    def audit(self, event: str, **more: str | int) -> None:
        """Record what the service does."""
        auth = self.auth
        self.state.audit.record(event, self.client, user=auth.sender, user_id=auth.user_id, session=auth.key_id, **more)

    def with_key(self, key: str | None) -> "Caller":
        """Return the caller of a request with this `Idempotency-Key`."""
        return self if key is None else replace(self, key=key)

    def of_item(self, number: int) -> "Caller":
        """Return the caller of one item of a batch, which has a key of its own."""
        return self if self.key is None else replace(self, key=f"{self.key}\n{number}")

    @property
    def client_id(self) -> str | None:
        """Return the `client_id` that stands for the key, for 24 hours and in each room."""
        return None if self.key is None else "idempotency:" + sha256(self.key.encode()).hexdigest()[:48]


IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,64}$",
        description="1 to 64 visible ASCII characters. A message that the service sends again with the same key"
        " within 24 hours is stored once. A `client_id` of the message counts in its place.",
        examples=["order-7-paid"],
    ),
]
"""The header of a request that may send messages."""


class _CallerOfRequest(SecurityBase):
    """Returns the service that the route has authenticated, and describes how."""

    def __init__(self) -> None:
        described = ServiceAuthentication()
        self.model = described.model
        self.scheme_name = described.scheme_name

    async def __call__(self, connection: HTTPConnection) -> Caller:
        """Return the service of the request."""
        found: Caller = connection.scope[CALLER]
        return found


class _SendingCaller(_CallerOfRequest):
    """Does the same for a request that may send messages."""

    async def __call__(self, connection: HTTPConnection, idempotency_key: IdempotencyKey = None) -> Caller:
        """Return the service of the request with its key."""
        return (await super().__call__(connection)).with_key(idempotency_key)


CurrentCaller = Annotated[Caller, Depends(_CallerOfRequest())]
"""The service of the request. The route must be a `ServiceRoute`."""

SendingCaller = Annotated[Caller, Depends(_SendingCaller())]
"""The service of a request that may send messages, with its `Idempotency-Key`."""
