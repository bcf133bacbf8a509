"""Who is there."""

from gateway.connections import Connections
from schemas.base import timestamp
from schemas.messages.presence import UserPresence


class Presence:
    """Tells whether users are there: online while they have a connection, and offline otherwise."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, user: str, last_seen_at: int | None) -> UserPresence:
        """Tell of one user; `last_seen_at` is what the store knows, in milliseconds since 1970."""
        if self._connections.has(user):
            return UserPresence(user=user, state="online")
        last_seen = None if last_seen_at is None else timestamp(last_seen_at)
        return UserPresence(user=user, state="offline", last_seen=last_seen)
