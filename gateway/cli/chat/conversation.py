"""One room of one user, over any number of connections: `gateway_client` keeps the room and its place in it.

One line at a time is sent. The next line waits until the gateway has acknowledged it. If the connection breaks in
between, the client sends the line again with the same `client_id`. So the room gets each line once, and none is lost
silently.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gateway.cli.chat.account import Account
from gateway.cli.chat.calls import Calls
from gateway.cli.chat.growing_messages import GrowingMessages
from gateway.cli.chat.passing import Passing
from gateway.cli.chat.screen import AnyMessage, Line, Screen
from gateway.cli.chat.wording import clean, line_of, words_of
from gateway.core.start_error import StartError
from gateway_client import (
    AnyEvent,
    Event,
    Events,
    Gap,
    Lost,
    NoToken,
    Overflowed,
    Reconnect,
    Refused,
    Room,
    StateChanged,
    Times,
    TokenRequest,
    connect,
)
from gateway_client.messages import JoinReply
from schemas.codes import Close

TIMES = Times(first_delay=0.5)

PATIENCE_SECONDS = 60
"""How long lines from a pipe wait for a lost gateway. At a terminal, the user decides."""

TRIES = 20
"""How often to send a line that the gateway cannot accept for the moment."""

BREATH_SECONDS = 1.5
"""The pause after such a refusal. The gateway closes connections that are refused again within a second."""

ECHO_SECONDS = 2
"""How long to wait, before leaving, until our last line has come back as an event."""

MAX_EVENTS = 10_000
"""Events that wait to be shown."""

FOR_THIS_USER = {"room.invited", "room.added"}
"""Events about another room that the user should see."""

_WHY_NOT_RESUMED = {
    "too_many": "too many messages came meanwhile to show them all",
    "too_old": "the messages of the meantime are no longer kept",
}


class Conversation:
    """Shows a room, and sends to it what the screen reads."""

    def __init__(self, account: Account, room: str, screen: Screen, *, last: int) -> None:
        self.failed = False
        self._account = account
        self._name = room
        self._screen = screen
        self._last = last
        self._calls = Calls(screen)
        self._calling: asyncio.Task[bool] | None = None
        self._growing = GrowingMessages(screen)
        self._passing = Passing()
        self._shown = 0
        """The offset up to which all messages have been shown."""
        self._said = 0
        self._unanswered: Line | None = None
        self._heard = asyncio.Event()
        self._away = asyncio.Event()
        self._back = asyncio.Event()

    async def run(self) -> None:
        """Talk until the lines end, or raise `StartError` if there is no way to continue."""
        place = self._account.address
        self._gateway = connect(
            place.ws, get_token=self._token, proxy=not place.local, max_events=MAX_EVENTS, times=TIMES
        )
        try:
            async with self._gateway as gateway:
                await self._talk(gateway.room(self._name), gateway.events())
        except Lost as lost:
            raise StartError(clean(str(lost))) from None

    def report_unsent(self) -> None:
        """Report the line that was being sent, if the end came before its acknowledgement."""
        if self._unanswered is not None:
            self._fail(self._unanswered, "the end came before the gateway acknowledged it")
            self._unanswered = None

    async def _token(self, request: TokenRequest) -> str:
        """Return the token of the log-in, or the next one. A session that has ended stays so."""
        if request.previous is not None or self._account.token is None:
            if request.reason == "refused" and not _has_expired(self._gateway.why):
                raise NoToken("log in again")
            try:
                await self._account.renew()
            except StartError as error:
                raise NoToken(str(error)) from None
        assert self._account.token is not None  # noqa: S101 - `renew` makes sure of it
        return self._account.token

    async def _talk(self, room: Room, events: Events[Event | AnyEvent]) -> None:
        """Receive and send until there is nothing more to send."""
        ends = room.events("room.deleted")
        try:
            self._begin(await room.join())
        except Refused as refused:
            raise StartError(f"cannot join the room: {words_of(refused)}") from None
        speaking = asyncio.create_task(self._speak(room))
        listening = [asyncio.create_task(work) for work in (self._listen(events), self._stay(ends), self._be_patient())]
        try:
            await asyncio.wait({speaking, *listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in listening:
                if task.done():
                    await task
            await speaking
            await self._wait_for_echo()
        finally:
            await _cancelled(speaking, *listening, self._calling)

    def _begin(self, reply: JoinReply) -> None:
        messages = [message.model_dump(mode="json", exclude_unset=True) for message in reply.messages or ()]
        for message in messages[-self._last :] if self._last else ():
            self._show("chat.message", message)
        self._shown = reply.offset
        if self._screen.live:
            members = "you alone" if reply.members == 1 else f"{reply.members} members"
            self._screen.notify(f"{self._name}, {members}; you are {clean(self._gateway.user)}; Ctrl-D leaves")

    # ---- what comes ----

    async def _listen(self, events: Events[Event | AnyEvent]) -> None:
        while True:
            try:
                self._on_event(await anext(events))
            except Overflowed:
                self._screen.notify("too many messages came to show them all")
            except StopAsyncIteration:
                return

    async def _stay(self, ends: Events[AnyEvent]) -> None:
        """Wait until the user is out of the room."""
        try:
            async for _ in ends:
                pass
        except Refused as refused:
            raise StartError(f"cannot join the room: {words_of(refused)}") from None
        if self._gateway.state != "closed":
            await asyncio.sleep(0)  # the loop of all events shows the last one first
            raise StartError("you are not in the room any more")

    def _on_event(self, event: Event | AnyEvent) -> None:
        if isinstance(event, StateChanged):
            self._on_state(event)
            return
        if isinstance(event, Gap):
            self._show_gap(event)
            return
        data = event.data if isinstance(event, AnyEvent) else event.model_dump(mode="json", exclude_unset=True)
        if isinstance(data, dict) and (data.get("room", self._name) == self._name or event.type in FOR_THIS_USER):
            self._show(event.type, data)
            self._shown = max(self._shown, data.get("changed", 0))
            self._heard.set()

    def _on_state(self, event: StateChanged) -> None:
        if event.state == "open" and self._away.is_set():
            self._screen.notify("connected again")
            self._away.clear()
            self._back.set()
        elif event.state == "waiting" and event.why is not None and not self._away.is_set() and _may_pass(event.why):
            self._screen.notify(f"the connection is lost ({_short(event.why)}); reconnecting")
            self._back.clear()
            self._away.set()

    async def _be_patient(self) -> None:
        """Wait until a script has waited too long for its gateway. A person decides that alone."""
        while True:
            await self._away.wait()
            try:
                async with asyncio.timeout(None if self._screen.live else PATIENCE_SECONDS):
                    await self._back.wait()
            except TimeoutError:
                why = clean(self._gateway.why.message) if self._gateway.why is not None else "no connection"
                raise StartError(
                    f"{why}; gave up after {PATIENCE_SECONDS} s, the lines from here on were not sent"
                ) from None

    def _show_gap(self, gap: Gap) -> None:
        why = _WHY_NOT_RESUMED.get(gap.reason, "the room has a new log")
        self._screen.notify(f"{why}; here are the newest messages")
        for message in gap.messages:
            self._show("chat.message", message.model_dump(mode="json", exclude_unset=True))
        self._shown = gap.position.offset

    def _show(self, type: str, data: Mapping[str, Any]) -> None:
        self._growing.on_event(type, data)
        line = line_of(type, data)
        if line is None and self._screen.live:
            line = self._passing.line_of(type, data)
        if line is not None:
            self._screen.show(line)

    # ---- what goes ----

    async def _speak(self, room: Room) -> None:
        while (line := await self._screen.next_line()) is not None:
            if line.message is not None:
                await self._call(line, line.message)
                continue
            self._unanswered = line
            await self._send(room, line)
            self._unanswered = None

    async def _call(self, line: Line, message: AnyMessage) -> None:
        """Send any message. In a pipe, the next line waits for its end. A person may talk meanwhile."""
        if self._calling is not None and not self._calling.done():
            self._screen.report(line, "the call before it still runs; Ctrl-C cancels that")
            return
        self._calling = asyncio.create_task(self._calls.run(self._gateway, message))
        if not self._screen.live and not await self._calling:
            self.failed = True

    async def _send(self, room: Room, line: Line) -> None:
        problem = line.problem
        tries = 0
        while not problem:
            try:
                message = await room.send(line.text, client_id=line.client_id)
            except Refused as refused:
                tries += 1
                if not refused.retryable or tries == TRIES:
                    problem = words_of(refused)
                else:
                    await asyncio.sleep(max(refused.retry_after_ms / 1000, BREATH_SECONDS))
            else:
                self._said = message.changed
                return
        self._fail(line, problem)

    def _fail(self, line: Line, problem: str) -> None:
        self.failed = True
        self._screen.report(line, problem)

    async def _wait_for_echo(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ECHO_SECONDS):
                while self._shown < self._said:
                    self._heard.clear()
                    await self._heard.wait()


def _short(why: Lost) -> str:
    """Return the word of a close, or else a sentence."""
    return clean(why.reason.replace("_", " ") or why.message)


def _has_expired(why: Lost | None) -> bool:
    return why is not None and why.reason == Close.TOKEN_EXPIRED.reason


def _may_pass(why: Lost) -> bool:
    """Return whether a loss is more than the end of everything."""
    return why.reconnect is not Reconnect.NEW_CREDENTIAL or _has_expired(why)


async def _cancelled(*tasks: "asyncio.Task[Any] | None") -> None:
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
