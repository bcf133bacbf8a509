"""Events of `/ws/service`."""

from typing import ClassVar

from schemas.base import Event, Timestamp
from schemas.events.system import PROTOCOL_VERSION


class ServiceWelcome(Event):
    """The first frame to a worker that has logged in."""

    type: ClassVar[str] = "welcome"

    connection: str
    service: str
    server_time: Timestamp
    heartbeat_seconds: float
    max_message_bytes: int
    protocol: int = PROTOCOL_VERSION
