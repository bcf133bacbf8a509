"""Gathers the pieces that messages grow by, in front of the log: those of 40 ms for one message are one change.

A stream of tokens would otherwise take an offset, a place in a window and a delivery for each of them. A group begins
with its first piece. It goes to the log after `GROUP_SECONDS`, or earlier: with its last piece (`done`), when it is
long, or before another change of the same message, so that all changes of a sender keep their order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self, TypeAlias

from gateway.core.faults import contained
from gateway.rooms.growth import Append, Grown, NewPiece
from gateway.rooms.log import Log
from gateway.rooms.message_changes import Delete, Edit, Written
from gateway.store.messages import message_id
from handlers.errors import MessageError
from schemas.messages.chat import AppendReply

GROUP_SECONDS = 0.04
"""How long a piece waits for others. A reader sees 25 changes a second as a flow."""

MAX_GROUP_PIECES = 500
MAX_GROUP_CHARACTERS = 8000
"""The most of one group, so that its change and its event stay small."""

Key: TypeAlias = tuple[str, str, str]
"""A room, a message in it, and the user that adds to it."""


@dataclass(slots=True)
class _Group:
    """Pieces that will be one change, each with the caller that waits for it."""

    by_service: bool
    timer: asyncio.TimerHandle
    characters: int = 0
    pieces: list[NewPiece] = field(default_factory=list)
    waiting: list["asyncio.Future[AppendReply]"] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Return whether no other piece should join it."""
        return len(self.pieces) >= MAX_GROUP_PIECES or self.characters >= MAX_GROUP_CHARACTERS


class Appender:
    """Adds pieces to messages, many of them with one change of the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._groups: dict[Key, _Group] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Pass what waits to the log at the end of the context, while the log still writes."""
        try:
            yield self
        finally:
            for key in list(self._groups):
                self._submit(key)

    def is_gathering(self, room: str, user_id: str, message_id: str) -> bool:
        """Return whether a piece of a user for a message would join others that wait already."""
        return (room, message_id, user_id) in self._groups

    def append(
        self, room: str, user_id: str, message_id: str, piece: NewPiece, *, by_service: bool = False
    ) -> "asyncio.Future[AppendReply]":
        """Add a piece to a message after all earlier ones, and return a future of its durable outcome.

        The future raises the reason of a refusal, or `Unavailable` if the store does not answer.
        """
        loop = asyncio.get_running_loop()
        key = (room, message_id, user_id)
        group = self._groups.get(key)
        if group is None:
            timer = loop.call_later(GROUP_SECONDS, self._submit, key)
            group = self._groups[key] = _Group(by_service, timer)
        future: asyncio.Future[AppendReply] = loop.create_future()
        group.pieces.append(piece)
        group.waiting.append(future)
        group.characters += len(piece.text)
        if piece.done or group.is_full:
            self._submit(key)
        return future

    async def change(self, change: Edit | Delete) -> Written:
        """Make another change of a message, after the pieces of the same user that came before it."""
        key = (change.room, change.message_id, change.user_id)
        if key in self._groups:
            self._submit(key)
        return await self._log.append(change)

    def _submit(self, key: Key) -> None:
        group = self._groups.pop(key)
        group.timer.cancel()
        room, message_id, user_id = key
        try:
            change = self._log.submit(Append(room, user_id, message_id, group.pieces, group.by_service))
        except MessageError as error:
            _refuse(group, error)
        else:
            change.add_done_callback(partial(_settle, group))


def _settle(group: _Group, change: "asyncio.Future[Grown]") -> None:
    """Pass the outcome of a change to all that wait for it."""
    error = change.exception()
    if error is not None:
        _refuse(group, error)
        return
    grown = change.result()
    for piece, outcome, future in zip(group.pieces, grown.outcomes, group.waiting, strict=True):
        if future.done():
            continue  # the caller is gone, and what is written stays written
        with contained("writes"):
            if isinstance(outcome, MessageError):
                _fail(future, outcome)
            else:
                future.set_result(_reply(grown, piece, outcome))


def _refuse(group: _Group, error: BaseException) -> None:
    for future in group.waiting:
        if not future.done():
            _fail(future, error)


def _fail(future: "asyncio.Future[AppendReply]", error: BaseException) -> None:
    future.set_exception(error)
    future.exception()  # a caller may wait for its last piece alone, and asyncio would log the others


def _reply(grown: Grown, piece: NewPiece, length: int) -> AppendReply:
    return AppendReply(
        message_id=message_id(grown.room.epoch, grown.message.offset),
        changed=grown.message.changed,
        length=length,
        done=piece.done,
    )
