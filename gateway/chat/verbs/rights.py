"""Whether a user has a right in a room: by the token's rights, and by the service of `[authorize]`.

Each verb asks here before it does anything, and the roles in `gateway.rooms.rules` count after that. A room that does
not exist and another user's private room are refused alike, since nothing here looks the room up.

Direct rooms count as other rooms do: `dm-*` is the pattern for all of them, as no pattern can name one of them.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import SessionContext
from gateway.store import users
from gateway.store.prepared import items_of
from gateway.store.rooms import direct_name
from gateway.upstream.authorize import AuthorizeService
from handlers.errors import Forbidden, MessageError
from schemas.messages.rooms import Role

Outcome = Role | MessageError | None
"""The role of a new member, if the service of `[authorize]` has named one, or why the user may not."""


async def check_right(session: SessionContext, right: Right, room: str) -> Role | None:
    """Raise `Forbidden` unless the user has a right in a room.

    Return the role that the service of `[authorize]` wants for a new member. Raise `Unavailable` if it does not answer.
    """
    _check_token(session, right, room)
    authorize = session.gateway.authorize
    return None if authorize is None else await _ask(session, authorize, right, room)


async def check_each(session: SessionContext, right: Right, rooms: Sequence[str]) -> Mapping[str, Outcome]:
    """Do what `check_right` does for several rooms at once. Return the outcomes, without rooms that need no more."""
    authorize = session.gateway.authorize
    if session.room_rights is None and authorize is None:
        return {}
    outcomes: dict[str, Outcome] = {}
    asked: dict[str, asyncio.Task[Outcome]] = {}
    async with asyncio.TaskGroup() as tasks:
        for room in rooms:
            try:
                _check_token(session, right, room)
            except Forbidden as refusal:
                outcomes[room] = refusal
            else:
                # Not a task for each room of each client: thousands of clients may come back at once.
                if authorize is not None and authorize.is_asked(right, room):
                    asked[room] = tasks.create_task(_outcome(session, authorize, right, room))
    return outcomes | {room: task.result() for room, task in asked.items()}


async def may_create(session: SessionContext, room: str, *, exists: bool) -> bool:
    """Return whether the user may make a room by joining it.

    The service of `[authorize]` is asked only about a room that does not exist.
    """
    rights, authorize = session.room_rights, session.gateway.authorize
    if rights is not None and not rights.allows(Right.CREATE, room):
        return False
    if authorize is None:
        return True
    if exists or not session.gateway.settings.rooms_open:
        return False
    return (await authorize.ask(session.user, Right.CREATE, room, session.claims)).allow


async def check_direct(session: SessionContext, user: str) -> None:
    """Raise `Forbidden` unless the user may be in its direct room with another one, and may make a new one."""
    if session.room_rights is None and session.gateway.authorize is None:
        return
    found = await session.fetch(users.IDS_BY_NAME, items=items_of([user]))
    if not found:
        return  # opening the room says so
    room = direct_name([session.user_id, found[0]["id"]])
    await check_right(session, Right.JOIN, room)
    if await session.gateway.room_finder.find(room, session.user_id) is None:
        await check_right(session, Right.CREATE, room)


def _check_token(session: SessionContext, right: Right, room: str) -> None:
    rights = session.room_rights
    if rights is not None and not rights.allows(right, room):
        raise Forbidden(f"your token does not have the right `{right}` in the room `{room}`")


async def _ask(session: SessionContext, authorize: AuthorizeService, right: Right, room: str) -> Role | None:
    verdict = await authorize.ask(session.user, right, room, session.claims)
    if not verdict.allow:
        raise Forbidden(f"you do not have the right `{right}` in the room `{room}`")
    return verdict.role


async def _outcome(session: SessionContext, authorize: AuthorizeService, right: Right, room: str) -> Outcome:
    try:
        return await _ask(session, authorize, right, room)
    except MessageError as refusal:
        return refusal
