"""Messages that a user has written by hand: sends them, and shows each chunk of the answer as it comes."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.text import Text

from gateway.cli.chat.client import Call, ChatClient, ConnectionLost, RequestRefused
from gateway.cli.chat.screen import AnyMessage, Screen
from gateway.cli.chat.wording import clean


class Calls:
    """Sends a message and shows its answer. On a live screen, Ctrl-C cancels it; another Ctrl-C leaves, as ever."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self, client: ChatClient, message: AnyMessage) -> bool:
        """Send a message, and return whether a reply came. It is never sent again: it might count twice."""
        kind = clean(message.type)
        try:
            async with client.call(message.type, message.data) as call:
                with self._cancelled_by_ctrl_c(client, call):
                    await self._show(call, kind)
        except RequestRefused as refused:
            self._screen.notify(f"{kind}: {refused}")
            return False
        except ConnectionLost:
            self._screen.notify(f"{kind}: the connection was lost before the answer came")
            return False
        return True

    async def _show(self, call: Call, kind: str) -> None:
        key, label = f"call {call.id}", Text.assemble((kind, "bold"), ": ")
        has_chunks = False
        try:
            async for chunk in call:
                has_chunks = True
                if isinstance(chunk, str):
                    self._screen.grow(key, label, chunk)
                else:
                    self._screen.settle(key)
                    self._screen.show(Text.assemble(label, _json(chunk)))
        finally:
            self._screen.settle(key)
        if call.reply != {} or not has_chunks:
            self._screen.show(Text.assemble((kind, "bold"), " → ", _json(call.reply)))

    @contextmanager
    def _cancelled_by_ctrl_c(self, client: ChatClient, call: Call) -> Iterator[None]:
        if not self._screen.live:
            yield
            return
        loop = asyncio.get_running_loop()
        leave = signal.getsignal(signal.SIGINT)

        def restore() -> None:
            if loop.remove_signal_handler(signal.SIGINT):
                signal.signal(signal.SIGINT, leave)

        def cancel() -> None:
            restore()
            self._cancelling = asyncio.create_task(_cancel(client, call))

        loop.add_signal_handler(signal.SIGINT, cancel)
        try:
            yield
        finally:
            restore()


async def _cancel(client: ChatClient, call: Call) -> None:
    with suppress(ConnectionLost):  # that has cancelled it too
        await client.cancel(call)


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False))
