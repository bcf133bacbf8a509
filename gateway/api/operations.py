"""What a service can do, by the names that a batch uses."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gateway.api.caller import Caller
from gateway.api.connections import close_connection
from gateway.api.members import put_member, remove_member
from gateway.api.messages import append_message, delete_message, edit_message
from gateway.api.publish import publish
from gateway.api.rooms import create_room, delete_room, read_room, update_room
from gateway.api.users import disconnect_user, end_user_sessions, read_user
from schemas.api.connections import NameConnection
from schemas.api.publish import Publish
from schemas.api.rooms import NameMember, NameMessage, NameRoom, PutMember
from schemas.api.users import NameUser
from schemas.messages.chat import AppendMessage, EditMessage
from schemas.messages.rooms import CreateRoom, UpdateRoom


@dataclass(frozen=True)
class Operation:
    """One thing that a service can do: the schema of its data, and the function that does it."""

    schema: type[BaseModel]
    run: Callable[[Caller, Any], Awaitable[BaseModel]]


OPERATIONS: Mapping[str, Operation] = {
    "publish": Operation(Publish, publish),
    "room.create": Operation(CreateRoom, create_room),
    "room.read": Operation(NameRoom, read_room),
    "room.update": Operation(UpdateRoom, update_room),
    "room.delete": Operation(NameRoom, delete_room),
    "member.put": Operation(PutMember, put_member),
    "member.remove": Operation(NameMember, remove_member),
    "message.edit": Operation(EditMessage, edit_message),
    "message.append": Operation(AppendMessage, append_message),
    "message.delete": Operation(NameMessage, delete_message),
    "connection.close": Operation(NameConnection, close_connection),
    "user.read": Operation(NameUser, read_user),
    "user.disconnect": Operation(NameUser, disconnect_user),
    "user.end_sessions": Operation(NameUser, end_user_sessions),
}
