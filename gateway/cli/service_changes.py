"""Changes of services in the store, for the commands about services and incoming webhooks. Each is audited."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from gateway.auth import service_keys
from gateway.auth.service_keys import ServiceKey
from gateway.cli.store import with_database
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.room_patterns import RoomPatterns
from gateway.core.start_error import StartError
from gateway.store import services
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.services import ServiceKeyRow, ServiceRow
from schemas.services import ServiceKind, ServiceName

Result = TypeVar("Result")

HOUR_MILLISECONDS = 3600 * 1000
EVERY_ROOM = "*"

_COMMANDS: dict[ServiceKind, str] = {"service": "gateway services", "hook": "gateway services hook"}


def add(
    name: str, kind: ServiceKind, scopes: Iterable[str], rooms: Iterable[str] | None, room: str | None = None
) -> ServiceKey:
    """Add a service, and return its first key."""
    _check_name(name)
    patterns = None if rooms is None else _patterns(rooms)

    def change(connection: Connection, now: int) -> tuple[ServiceRow, ServiceKey]:
        row = services.add(connection, name=name, kind=kind, scopes=scopes, rooms=patterns, room=room, now=now)
        return row, service_keys.issue(connection, row, now)

    try:
        return _change("service_added", change)
    except NameTaken:
        raise StartError(f"there is a service or an incoming webhook {name} already; choose another name") from None


def change(name: str, scopes: Iterable[str] | None, rooms: Iterable[str] | None) -> ServiceRow:
    """Replace the scopes or the patterns of a service, or both, and return it. None keeps what is there."""
    patterns = None if rooms is None else _patterns(rooms)

    def change(connection: Connection, _: int) -> tuple[ServiceRow, ServiceRow]:
        row = _find(connection, name, "service")
        kept = row.rooms if rooms is None else None if patterns is None else " ".join(patterns)
        changed = services.change(connection, row, scopes=scopes, rooms=kept)
        return changed, changed

    return _change("service_changed", change)


def rotate(name: str, overlap_hours: float) -> ServiceKey:
    """Add a key to a service, let the others end after so many hours, and return the new one."""
    overlap = round(overlap_hours * HOUR_MILLISECONDS)

    def change(connection: Connection, now: int) -> tuple[ServiceRow, ServiceKey]:
        row = _find(connection, name, "service")
        return row, service_keys.rotate(connection, row, now, overlap)

    return _change("service_key_rotated", change)


def revoke(name: str, key_id: str | None) -> list[str]:
    """Revoke the keys of a service, all or one, and return the ids of those."""

    def change(connection: Connection, now: int) -> tuple[ServiceRow, list[str]]:
        row = _find(connection, name, "service")
        revoked = services.revoke_keys(connection, row.user_id, now, only=key_id)
        if key_id is not None and not revoked:
            raise StartError(f"{name} has no key {key_id} that is not revoked; see: gateway services list")
        return row, revoked

    return _change("service_key_revoked", change)


def remove(name: str, kind: ServiceKind) -> None:
    """Delete a service, and revoke its keys. Its messages stay."""

    def change(connection: Connection, now: int) -> tuple[ServiceRow, list[str]]:
        row = _find(connection, name, kind)
        return row, services.remove(connection, row.user_id, now)

    _change("service_deleted", change)


def list_all(kind: ServiceKind) -> list[tuple[ServiceRow, list[ServiceKeyRow]]]:
    """List the services of a kind by name, with their keys."""
    now = milliseconds(SystemClock())

    async def work(database: Database, _: Settings) -> list[tuple[ServiceRow, list[ServiceKeyRow]]]:
        return await database.query(lambda connection: services.list_all(connection, kind, now))

    return with_database(work)


def _change(event: str, change: Callable[[Connection, int], tuple[ServiceRow, Result]]) -> Result:
    now = milliseconds(SystemClock())

    async def work(database: Database, settings: Settings) -> Result:
        with Audit(settings.audit_path, SystemClock()) as audit:
            row, result = await database.transact(lambda connection: change(connection, now))
            keys = [result.id] if isinstance(result, ServiceKey) else result if isinstance(result, list) else []
            for key in keys or [None]:
                rights = {"scopes": row.scopes, "rooms": row.rooms}
                audit.record(event, operator(), user=row.sender, user_id=row.user_id, session=key, **rights)
        return result

    return with_database(work)


def _find(connection: Connection, name: str, kind: ServiceKind) -> ServiceRow:
    found = services.find(connection, name)
    if found is None or found.kind != kind:
        raise StartError(f"there is no {name}; see: {_COMMANDS[kind]} list")
    return found


def _check_name(name: str) -> None:
    try:
        TypeAdapter(ServiceName).validate_python(name)
    except ValidationError as error:
        raise StartError(f"NAME: {error.errors()[0]['msg']}") from None


def _patterns(rooms: Iterable[str]) -> tuple[str, ...] | None:
    """Return the patterns, or None if one of them stands for every room."""
    try:
        texts = RoomPatterns.parse(rooms).texts
    except ValueError as error:
        raise StartError(f"--rooms: {error}") from None
    return None if EVERY_ROOM in texts else texts
