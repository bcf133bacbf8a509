"""Takes events from commands such as `gateway rooms delete`, which change the store in a process of their own."""

from typing import Any

from gateway.bus import codec
from gateway.bus.base import Bus, BusEvent, NodeMessage, Revoked
from gateway.bus.codec import Rejected
from gateway.bus.outside import CHECK, PUBLISH
from gateway.core.local_socket import LocalFailed, LocalSocket
from gateway.rooms.hub import Hub


class OutsideEvents:
    """Delivers the events of commands on the machine of this process."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self._bus = bus
        self._hub = hub

    def serve(self, local_socket: LocalSocket) -> None:
        """Take events from a socket."""
        local_socket.serve(PUBLISH, self._publish)
        local_socket.serve(CHECK, self._check)

    async def _publish(self, data: dict[str, Any]) -> dict[str, Any]:
        match data:
            case {"messages": list(messages)}:
                events = [_event(each) for each in messages]
            case _:
                raise LocalFailed("expected `messages`")
        for event in events:
            if isinstance(event, Revoked):
                await self._bus.revoke(event)
            else:
                await self._bus.publish(event)
        return {}

    async def _check(self, data: dict[str, Any]) -> dict[str, Any]:
        match data:
            case {"room": str(room)}:
                self._hub.repair.check_soon(room)
                return {}
        raise LocalFailed("expected `room`")


def _event(message: Any) -> BusEvent | Revoked:
    """Return what a message is, or raise `LocalFailed`."""
    match message:
        case [str() | None as room, str(packed)]:
            try:
                event = codec.unpack(packed.encode(), room)
            except (Rejected, UnicodeEncodeError):
                raise LocalFailed("the process cannot read an event; it may be of another version") from None
            if not isinstance(event, NodeMessage):
                return event
    raise LocalFailed("expected events, each with its room")
