"""The assistant's message in a room: it begins with the first words of an answer, and grows with the rest."""

import asyncio

from gateway.publishing import MessageSender

MAX_PIECE = 4000
"""The most characters of one piece, which is the gateway's limit."""


class Answer:
    """One answer. What comes while a piece is stored goes into the next one, so a fast model waits for nothing."""

    def __init__(self, sender: MessageSender, room: str, prompt_id: str) -> None:
        self._sender = sender
        self._room = room
        self._prompt_id = prompt_id
        self._waiting = ""
        self._writing: asyncio.Task[None] | None = None
        self.message_id: str | None = None
        """The id of the message, once it has begun."""
        self.length = 0

    def add(self, text: str) -> None:
        """Add text, or raise why the text before it could not be stored: the message may have been deleted."""
        self._waiting += text
        self.length += len(text)
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def finish(self) -> None:
        """Store what still waits, and mark the message as done. An answer without a text makes no message."""
        if self._writing is not None:
            await self._writing
        if self.message_id is not None:
            await self._sender.append(self._room, self.message_id, "", done=True)

    async def _write(self) -> None:
        while self._waiting:
            piece, self._waiting = self._waiting[:MAX_PIECE], self._waiting[MAX_PIECE:]
            if self.message_id is None:
                begun = await self._sender.send(self._room, text=piece, reply_to=self._prompt_id)
                self.message_id = begun.id
            else:
                await self._sender.append(self._room, self.message_id, piece)
