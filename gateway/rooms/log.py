"""The log of each room: what is said, in order, durable before it is acknowledged."""

import asyncio
from typing import Any

from gateway.bus.base import Bus, BusEvent
from gateway.clock import Clock, milliseconds
from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.transport import frames
from schemas.base import timestamp
from schemas.events.chat import ChatMessage
from schemas.messages.chat import Message


class Log:
    """Appends to rooms' logs: first commit, then publish, one message at a time, so in the order of offsets."""

    def __init__(self, database: Database, bus: Bus, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._turn = asyncio.Lock()

    async def append(self, room_name: str, *, user_id: str, sender: str, text: str | None, body: Any) -> Message:
        """Store a message of a member and give it to the room; returns once it is durable.

        Raises `NotAMember`, `NotFound` or `Unavailable`, and then nothing was stored.
        """
        async with self._turn:
            async with self._database.write() as connection:
                room = await rooms.of_member(connection, room_name, user_id)
                offset = await rooms.next_offset(connection, room.id)
                message = Message(
                    id=messages.message_id(room.epoch, offset),
                    room=room.name,
                    epoch=room.epoch,
                    offset=offset,
                    changed=offset,
                    sender=sender,
                    text=text,
                    body=body,
                    sent_at=timestamp(now := milliseconds(self._clock)),
                )
                await messages.add(connection, room.id, message, sender_id=user_id, now=now)
            event = frames.event(ChatMessage.model_construct(**vars(message)))
            await self._bus.publish(BusEvent(event, room=room.name, offset=offset))
        return message
