"""`/api/rooms/{room}/messages`: a service reads the log of a room, and changes and deletes messages."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.rooms import RoomPath
from gateway.api.strict_route import ServiceRoute
from gateway.chat.verbs.pages import READ_BYTES, fitting_texts
from gateway.rooms.encoding import message_json
from gateway.rooms.growth import NewPiece
from gateway.rooms.message_changes import Written
from gateway.store import message_pages, messages
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from handlers.errors import NotFound
from schemas.api.rooms import MessageContent, MessagesPage, NameMessage
from schemas.messages.chat import (
    MAX_OFFSET,
    AppendMessage,
    AppendReply,
    EditMessage,
    Message,
    MessageReply,
    Piece,
)
from schemas.services import PUBLISH, ROOMS

MessagePath = Annotated[str, Path(min_length=1, max_length=64, description="The id of the message.")]
Cursor = Annotated[
    str | None,
    Query(pattern=r"^(before|after)-[0-9]{1,15}$", description="The `next_cursor` of the page before."),
]
After = Annotated[
    int | None,
    Query(ge=0, le=MAX_OFFSET, description="Read forward from this offset of the log, oldest message first."),
]

router = APIRouter(prefix="/api/rooms/{room}/messages", tags=["server API"], route_class=ServiceRoute)


async def edit_message(caller: Caller, data: EditMessage) -> MessageReply:
    """Change the content of a message that the service itself has sent."""
    caller.check(PUBLISH, data.room)
    written = await caller.rooms.edit_message(caller.sender, data.room, data.message_id, text=data.text, body=data.body)
    return _reply(caller, written)


async def append_message(caller: Caller, data: AppendMessage) -> AppendReply:
    """Add text to the end of a message that the service itself has sent."""
    caller.check(PUBLISH, data.room)
    piece = NewPiece(data.text, data.at, data.done)
    return await caller.rooms.append_message(caller.sender, data.room, data.message_id, piece)


async def delete_message(caller: Caller, data: NameMessage) -> MessageReply:
    """Delete a message, of any sender."""
    caller.check(ROOMS, data.room)
    return _reply(caller, await caller.rooms.delete_message(caller.sender, data.room, data.message_id))


def _reply(caller: Caller, written: Written) -> MessageReply:
    return MessageReply(message=written.message.to_schema(written.room, caller.auth.user_id))


@router.get("", summary="Reads a page of a room's log.", response_model=MessagesPage, responses=service_refusals(404))
async def list_messages(
    caller: CurrentCaller,
    room: RoomPath,
    after: After = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Return a page of the messages of a room, newest first, or with `after` oldest first.

    A page ends earlier than `limit` at about 250,000 bytes.
    """
    caller.check(ROOMS, room)
    found = await caller.rooms.find(room)
    before, after = _place(cursor, after)
    statement, place = message_pages.part(before, after)
    # Read one more than requested, to know whether there are more.
    wanted = {"room": found.id, "most": limit + 1} | place
    rows = await caller.state.database.fetch_bounded(statement, READ_BYTES, **wanted)
    texts = fitting_texts([message_json(found, MessageRow(**row), caller.auth.user_id) for row in rows[:limit]])
    more = b""
    if len(rows) > len(texts):
        offset = rows[len(texts) - 1]["offset"]
        more = b',"next_cursor":"%b-%d"' % (b"before" if after is None else b"after", offset)
    return Response(b'{"messages":[%b]%b}' % (b",".join(texts), more), media_type="application/json")


def _place(cursor: str | None, after: int | None) -> tuple[int | None, int | None]:
    """Return where a page begins: before an offset, after one, or at the end of the log."""
    if cursor is None:
        return None, after
    direction, _, offset = cursor.partition("-")
    return (int(offset), None) if direction == "before" else (None, int(offset))


@router.get(
    "/{message_id}", summary="Returns a message.", response_model_exclude_none=True, responses=service_refusals(404)
)
async def get_message(caller: CurrentCaller, room: RoomPath, message_id: MessagePath) -> Message:
    """Return a message."""
    caller.check(ROOMS, room)
    found = await caller.rooms.find(room)
    row = await _find(caller, found, message_id)
    return row.to_schema(found, caller.auth.user_id)


async def _find(caller: Caller, room: RoomRow, message_id: str) -> MessageRow:
    offset = messages.offset_of(message_id, room.epoch)
    if offset is not None:
        after = {"room": room.id, "most": 1, "offset": offset - 1}
        for row in await caller.state.database.fetch_bounded(message_pages.AFTER, READ_BYTES, **after):
            if row["offset"] == offset:
                return MessageRow(**row)
    raise NotFound("there is no such message in this room")


@router.patch(
    "/{message_id}",
    summary="Changes a message of the service itself.",
    response_model_exclude_none=True,
    responses=service_refusals(404, 409, body=True),
)
async def patch_message(
    caller: CurrentCaller, room: RoomPath, message_id: MessagePath, data: MessageContent
) -> MessageReply:
    """Change the content of a message that the service itself has sent. This needs the scope `api:publish`."""
    return await edit_message(caller, EditMessage(room=room, message_id=message_id, text=data.text, body=data.body))


@router.post(
    "/{message_id}/append",
    summary="Adds text to a message of the service itself.",
    responses=service_refusals(404, 409, body=True),
)
async def post_piece(caller: CurrentCaller, room: RoomPath, message_id: MessagePath, data: Piece) -> AppendReply:
    """Add text to the end of a message that the service itself has sent. This needs the scope `api:publish`.

    The gateway stores the pieces of 40 ms as one change, and answers when they are on disk.
    """
    piece = AppendMessage(room=room, message_id=message_id, text=data.text, at=data.at, done=data.done)
    return await append_message(caller, piece)


@router.delete(
    "/{message_id}",
    summary="Deletes a message of any sender.",
    response_model_exclude_none=True,
    responses=service_refusals(404),
)
async def remove_message(caller: CurrentCaller, room: RoomPath, message_id: MessagePath) -> MessageReply:
    """Delete a message of any sender, and return what is left of it."""
    return await delete_message(caller, NameMessage(room=room, message_id=message_id))
