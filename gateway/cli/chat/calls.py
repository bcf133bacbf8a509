"""Messages that a user has written by hand: sends them, and shows each chunk of the answer as it comes."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.text import Text

from gateway.cli.chat.screen import AnyMessage, Screen
from gateway.cli.chat.wording import clean, words_of
from gateway_client import Gateway, GatewayError, Lost, Refused, Stream


class Calls:
    """Sends a message and shows its answer. On a live screen, Ctrl-C cancels it; another Ctrl-C leaves, as ever."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._count = 0
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self, gateway: Gateway, message: AnyMessage) -> bool:
        """Send a message, and return whether a reply came. It is never sent again: it might count twice."""
        kind = clean(message.type)
        self._count += 1
        try:
            async with gateway.stream(message.type, message.data) as stream:
                with self._cancelled_by_ctrl_c(stream):
                    await self._show(stream, kind, f"call {self._count}")
        except Refused as refused:
            self._screen.notify(f"{kind}: {words_of(refused)}")
            return False
        except Lost:
            self._screen.notify(f"{kind}: the connection was lost before the answer came")
            return False
        except GatewayError as error:
            self._screen.notify(f"{kind}: {clean(str(error))}")
            return False
        return True

    async def _show(self, stream: Stream[Any, Any], kind: str, key: str) -> None:
        label = Text.assemble((kind, "bold"), ": ")
        has_chunks = False
        try:
            async for chunk in stream:
                has_chunks = True
                if isinstance(chunk, str):
                    self._screen.grow(key, label, chunk)
                else:
                    self._screen.settle(key)
                    self._screen.show(Text.assemble(label, _json(chunk)))
        finally:
            self._screen.settle(key)
        if stream.reply != {} or not has_chunks:
            self._screen.show(Text.assemble((kind, "bold"), " → ", _json(stream.reply)))

    @contextmanager
    def _cancelled_by_ctrl_c(self, stream: Stream[Any, Any]) -> Iterator[None]:
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
            self._cancelling = asyncio.create_task(stream.cancel())

        loop.add_signal_handler(signal.SIGINT, cancel)
        try:
            yield
        finally:
            restore()


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False))
