"""Services as the senders of messages, and the accounts that the application's own code speaks with."""

import re
from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.core.audit import Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock, milliseconds
from gateway.store import services
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.services import ServiceRow
from handlers.errors import Forbidden
from schemas.services import SERVICE_NAME


@dataclass(frozen=True, slots=True)
class ServiceSender:
    """A service, as the sender of its messages."""

    user_id: str
    name: str
    """Such as `service:orders`. No user can have a colon in its name."""


class AppSenders:
    """The services that the application's own code speaks as: each is added at its first use, and needs no key."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._known: dict[str, ServiceSender] = {}

    async def get(self, name: str) -> ServiceSender:
        """Return a service by its name, such as `orders`, and add it without scopes and keys if there is none.

        Raise `ValueError` for a text that no service can have as its name, and `Forbidden` for an incoming webhook's.
        """
        if name not in self._known:
            self._known[name] = await self._find_or_add(name)
        return self._known[name]

    async def _find_or_add(self, name: str) -> ServiceSender:
        if re.fullmatch(SERVICE_NAME, name) is None or name.endswith("\n"):
            raise ValueError(f"expected 1 to 32 of a-z 0-9 - _ . with a letter or digit first, got {name!r}")
        row = await self._database.query(lambda store: services.find(store, name))
        if row is None:
            try:
                row = await self._database.transact(lambda store: self._add(store, name))
            except NameTaken:  # another node has just added it
                row = await self._database.query(lambda store: services.find(store, name))
            else:
                self._audit.record("service_added", ClientInfo("application"), user=row.sender, user_id=row.user_id)
        if row is None or row.kind != "service":
            raise Forbidden(f"expected a service `{name}`, but an incoming webhook has this name; choose another")
        return ServiceSender(row.user_id, row.sender)

    def _add(self, store: Connection, name: str) -> ServiceRow:
        return services.add(store, name=name, kind="service", scopes=(), rooms=None, now=milliseconds(self._clock))
