"""The verbs for rooms of a session without a connection: a join makes the user a member, and hears nothing."""

import asyncio
from collections.abc import Sequence
from functools import partial

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.entries import Entries
from gateway.chat.verbs.pages import fitting_texts
from gateway.chat.verbs.resuming import FIRST
from gateway.chat.verbs.rights import check_right
from gateway.chat.verbs.rooms import UserRooms
from gateway.core import costs
from gateway.transport import frames
from gateway.transport.encoded import encoded
from handlers.errors import MessageError
from schemas.codes import Status
from schemas.messages.rooms import JoinReply, JoinRoom, RefusedRoom, ResumeReply


class UnheardRooms(UserRooms):
    """The verbs for rooms of a user that is not connected here."""

    def __init__(self, session: SessionContext) -> None:
        super().__init__(session)
        self._entries = Entries(session)

    async def _join(self, request: JoinRoom) -> JoinReply:
        role = await check_right(self._session, Right.JOIN, request.room)
        remembered = self._entries.find_remembered(request)
        if remembered is not None:
            return remembered.joined.reply
        await self._entries.enter(request.room, request.since, role)
        read = partial(self._transactions.read, name=request.room, since=request.since, limit=request.limit)
        # The membership may have ended since it began; then this raises `NotAMember`.
        return (await self._gateway.database.query(read)).reply

    async def _resume(self, requests: Sequence[JoinRoom]) -> tuple[ResumeReply, int]:
        answers: list[bytes] = []
        for start in range(0, len(requests), FIRST):
            some = requests[start : start + FIRST]
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(self._answer(request)) for request in some]
            answers += [frames.json(each.result()) for each in found]
            fitting = list(fitting_texts(answers))
            # The reply charges the rest.
            self._session.charge(sum(costs.of_answer(len(text)) for text in answers[len(fitting) :]))
            if len(fitting) < len(answers) or any(_is_unavailable(each.result()) for each in found):
                answers = fitting
                break
        has_more = b"true" if len(answers) < len(requests) else b"false"
        reply = b'{"rooms":[%b],"has_more":%b}' % (b",".join(answers), has_more)
        return encoded(ResumeReply, reply), len(answers)

    async def _answer(self, request: JoinRoom) -> JoinReply | RefusedRoom:
        try:
            return await self._join(request)
        except MessageError as error:
            return RefusedRoom(room=request.room, error=error.body())


def _is_unavailable(answer: JoinReply | RefusedRoom) -> bool:
    return isinstance(answer, RefusedRoom) and answer.error.status == Status.UNAVAILABLE
