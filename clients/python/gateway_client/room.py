"""A room, as a program uses it."""

from typing import TYPE_CHECKING, Any, TypeVar, overload

from gateway_client.errors import Lost, Refused
from gateway_client.events import Events
from gateway_client.growing import Growing
from gateway_client.hub import Hub
from gateway_client.kinds import reply_as, wanted
from gateway_client.messages import (
    GetHistory,
    HistoryReply,
    JoinReply,
    JoinRoom,
    LeaveRoom,
    Message,
    Position,
    SendMessage,
)
from gateway_client.model import AnyEvent, Event, to_wire
from gateway_client.room_log import RoomLog, State, changed_message
from gateway_client.rooms import POSITION_LOST, Rooms

if TYPE_CHECKING:
    from gateway_client.line import Line

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
G = TypeVar("G", bound=Event)


class Room:
    """A room that the client comes back to after each loss, from `join` to `leave` or `quit`."""

    def __init__(self, log: RoomLog, line: "Line", hub: Hub, rooms: Rooms) -> None:
        self._log = log
        self._line = line
        self._hub = hub
        self._rooms = rooms

    @property
    def name(self) -> str:
        """Return the name of the room."""
        return self._log.name

    @property
    def state(self) -> State:
        """Return `idle`, `joined`, `left` or `refused`."""
        return self._log.state

    @property
    def why(self) -> Refused | None:
        """Return why the room is refused."""
        return self._log.why

    @property
    def position(self) -> Position | None:
        """Return the position up to which all changes were delivered."""
        return self._log.position

    async def join(self, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Hear the room, and become a member. Listen first and join then, so that nothing is missed between the two.

        With `since`, go on from a position of an earlier run: what was missed comes as events, or a `Gap` does.
        """
        if since is not None:
            self._log.position = since
        data = {"room": self.name} | ({} if limit is None else {"limit": limit})
        while True:
            position = self._log.position
            request = data | ({} if position is None else {"since": position.model_dump()})
            on_reply = self._rooms.on_reply_to("room.join", request, delivers=True)
            try:
                answer = await self._line.ask("room.join", request, on_reply=on_reply)
            except Lost as lost:
                if lost.final:
                    raise
            except Refused as refused:
                if refused.status != POSITION_LOST or position is None:
                    raise
                self._log.forget_position()
            else:
                reply: JoinReply = reply_as(JoinRoom, "room.join", answer)
                return reply

    async def leave(self) -> None:
        """End the membership. The loops over the room end."""
        on_reply = self._rooms.on_reply_to("room.leave", {"room": self.name})
        await self._line.ask("room.leave", to_wire(LeaveRoom(room=self.name)), on_reply=on_reply)

    def quit(self) -> None:
        """Forget the room without leaving it: it is not joined again after the next loss."""
        self._rooms.forget(self._log)

    async def send(
        self,
        text: str | None = None,
        *,
        body: Any = None,
        reply_to: str | None = None,
        client_id: str | None = None,
    ) -> Message:
        """Send a text or a body to the room, once, over any number of connections. Return the stored message."""
        content = {"text": text, "body": body, "reply_to": reply_to, "client_id": client_id}
        message = SendMessage(room=self.name, **{key: value for key, value in content.items() if value is not None})
        answer = await self._line.ask(message.type, to_wire(message))
        sent: Message = reply_as(SendMessage, message.type, answer).message
        return sent

    def grow(self) -> Growing:
        """Return a message that grows, for `async with`: the tokens of a language model, or the lines of a job."""
        return Growing(self.name, self._line)

    async def history(self, *, before: int | None = None, after: int | None = None, limit: int = 50) -> HistoryReply:
        """Return a page of messages before or after an offset, or the newest. They are oldest first."""
        place = {} if before is None else {"before": before}
        place |= {} if after is None else {"after": after}
        data = to_wire(GetHistory(room=self.name, limit=limit, **place))
        page: HistoryReply = reply_as(GetHistory, GetHistory.type, await self._line.ask(GetHistory.type, data))
        return page

    def messages(self, *, most: int | None = None) -> Events[Message]:
        """Return each message of the room, whole and in its newest state: new, edited, grown or deleted.

        It listens from now on, and has what a resume brings, also after a gap. Put each message in place of the one
        with its `id`.
        """
        return self._hub.listen(changed_message, most=most, room=self.name)

    @overload
    def events(self, *, most: int | None = None) -> Events[Event | AnyEvent]: ...
    @overload
    def events(self, kind: str, /, *, most: int | None = None) -> Events[AnyEvent]: ...
    @overload
    def events(self, kind: type[E], /, *, most: int | None = None) -> Events[E]: ...
    @overload
    def events(self, kind: type[E], other: type[F], /, *, most: int | None = None) -> Events[E | F]: ...
    @overload
    def events(
        self, kind: type[E], other: type[F], third: type[G], /, *, most: int | None = None
    ) -> Events[E | F | G]: ...
    @overload
    def events(self, *kinds: type[Event], most: int | None = None) -> Events[Any]: ...
    def events(self, *kinds: Any, most: int | None = None) -> Events[Any]:
        """Return the events of the room, as `Gateway.events` does. The loop ends when the user is out of the room.

        It raises `Refused` if the gateway does not let the user come back into the room.
        """
        return self._hub.listen(wanted(kinds), most=most, room=self.name)
