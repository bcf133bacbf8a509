"""One room of one user, over any number of connections.

One line at a time is sent. The next line waits until the gateway has acknowledged it. If the connection breaks in
between, the client resumes the room and sends the line again with the same `client_id`. So the room gets each line
once, and none is lost silently.
"""

import asyncio
import math
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gateway.cli.chat.account import Account
from gateway.cli.chat.calls import Calls
from gateway.cli.chat.client import ChatClient, ConnectionLost, Frame, RequestRefused, open_client
from gateway.cli.chat.growing_messages import GrowingMessages
from gateway.cli.chat.passing import Passing
from gateway.cli.chat.screen import AnyMessage, Line, Screen
from gateway.cli.chat.wording import clean, line_of
from gateway.core.start_error import StartError
from schemas.codes import Reconnect, Status

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30

RENEWAL_SECONDS = 10
"""The shortest time between two tokens: some gateways announce the end of a new token at once."""

PATIENCE_SECONDS = 60
"""How long lines from a pipe wait for a lost gateway. At a terminal, the user decides."""

TRIES = 20
"""How often to send a line that the gateway cannot accept for the moment."""

BREATH_SECONDS = 1.5
"""The pause after such a refusal. The gateway closes connections that are refused again within a second."""

ECHO_SECONDS = 2
"""How long to wait, before leaving, until our last line has come back as an event."""

_WHY_NOT_RESUMED = {
    "too_many": "too many messages came meanwhile to show them all",
    "too_old": "the messages of the meantime are no longer kept",
}


class Conversation:
    """Shows a room, and sends to it what the screen reads."""

    def __init__(self, account: Account, room: str, screen: Screen, *, last: int) -> None:
        self.failed = False
        self._account = account
        self._room = room
        self._screen = screen
        self._last = last
        self._calls = Calls(screen)
        self._calling: asyncio.Task[bool] | None = None
        self._growing = GrowingMessages(screen)
        self._passing = Passing()
        self._epoch: str | None = None
        self._position = 0
        """The offset up to which all messages have been shown."""
        self._said = 0
        self._unanswered: Line | None = None
        self._heard = asyncio.Event()
        self._attempts = 0
        self._lost_at = 0.0
        self._renewed_at = -math.inf
        self._renewing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Talk until the lines end, or raise `StartError` if there is no way to continue."""
        while True:
            try:
                await self._connection()
            except ConnectionLost as lost:
                await self._wait(lost)
            else:
                return

    def report_unsent(self) -> None:
        """Report the line that was being sent, if the end came before its acknowledgement."""
        if self._unanswered is not None:
            self._fail(self._unanswered, "the end came before the gateway acknowledged it")
            self._unanswered = None

    async def _connection(self) -> None:
        if self._account.token is None:
            await self._account.renew()
        assert self._account.token is not None  # noqa: S101 - `renew` makes sure of it
        place = self._account.address
        async with open_client(f"{place.ws}/ws/chat", self._account.token, proxy=not place.local) as client:
            await self._join(client)
            await self._talk(client)

    async def _join(self, client: ChatClient) -> None:
        try:
            reply = await self._ask_to_join(client)
        except RequestRefused as refused:
            if refused.retryable:
                raise ConnectionLost(str(refused), Reconnect.WITH_BACKOFF, refused.after_ms) from None
            raise StartError(f"cannot join the room: {refused}") from None
        self._show_missed(client, reply)
        if self._attempts:
            self._screen.notify("connected again")
        self._attempts = 0

    async def _ask_to_join(self, client: ChatClient) -> Frame:
        if self._epoch is None:
            return await client.request("room.join", room=self._room)
        try:
            return await self._resume(client)
        except RequestRefused as refused:
            if refused.status != Status.POSITION_LOST:
                raise
            # The log is shorter than what was shown: it has been restored from an older copy.
            return await client.request("room.join", room=self._room)

    async def _resume(self, client: ChatClient) -> Frame:
        since = {"epoch": self._epoch, "offset": self._position}
        reply = await client.request("room.resume", rooms=[{"room": self._room, "since": since}])
        found: Frame = reply["rooms"][0]
        if "error" in found:
            raise RequestRefused(found["error"])
        return found

    def _show_missed(self, client: ChatClient, reply: Frame) -> None:
        if reply.get("recovered"):
            for event in reply["events"]:
                self._show(event["type"], event["data"])
        elif self._epoch is not None:
            why = _WHY_NOT_RESUMED.get(reply.get("reason", ""), "the room has a new log")
            self._screen.notify(f"{why}; here are the newest messages")
            self._show_newest(reply, 50)
        else:
            self._show_newest(reply, self._last)
            if self._screen.live:
                members = "you alone" if reply["members"] == 1 else f"{reply['members']} members"
                self._screen.notify(f"{self._room}, {members}; you are {clean(client.user)}; Ctrl-D leaves")
        self._epoch, self._position = reply["epoch"], reply["offset"]

    def _show_newest(self, reply: Frame, count: int) -> None:
        for message in reply["messages"][-count:] if count else ():
            self._show("chat.message", message)

    async def _talk(self, client: ChatClient) -> None:
        """Receive and send until there is nothing more to send."""
        listening = asyncio.create_task(self._listen(client))
        speaking = asyncio.create_task(self._speak(client))
        try:
            await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if not speaking.done():
                await listening
            await speaking
            await self._wait_for_echo()
        finally:
            tasks = [listening, speaking, *self._renewing, *([self._calling] if self._calling else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, client: ChatClient) -> None:
        while True:
            event = await client.next_event()
            data = event.get("data", {})
            if event["type"] == "token.expiring":
                # In its own task, so that new messages are shown meanwhile.
                task = asyncio.create_task(self._renew(client))
                self._renewing.add(task)
                task.add_done_callback(self._renewing.discard)
            # These are about another room, but still for this user.
            if data.get("room", self._room) == self._room or event["type"] in {"room.invited", "room.added"}:
                self._on_event(event["type"], data, client)

    async def _renew(self, client: ChatClient) -> None:
        """Renew the token, so that the connection outlives it. If that fails, the next connection uses the new one."""
        if time.monotonic() - self._renewed_at < RENEWAL_SECONDS:
            return
        self._renewed_at = time.monotonic()
        with suppress(ConnectionLost, RequestRefused, StartError):
            await self._account.renew()
            await client.request("auth.refresh", token=self._account.token)

    def _on_event(self, type: str, data: Mapping[str, Any], client: ChatClient) -> None:
        if type == "resync":
            raise ConnectionLost("some messages were missed on the way", Reconnect.AFTER_DELAY)
        if "changed" in data:
            if data["changed"] <= self._position:
                return
            self._position = data["changed"]
            self._heard.set()
        self._show(type, data)
        if type == "room.left" and data.get("user") == client.user:
            raise StartError("you are not in the room any more")

    def _show(self, type: str, data: Mapping[str, Any]) -> None:
        self._growing.on_event(type, data)
        line = line_of(type, data)
        if line is None and self._screen.live:
            line = self._passing.line_of(type, data)
        if line is not None:
            self._screen.show(line)

    async def _speak(self, client: ChatClient) -> None:
        while (line := self._unanswered or await self._screen.next_line()) is not None:
            if line.message is not None:
                await self._call(client, line, line.message)
                continue
            self._unanswered = line
            await self._send(client, line)
            self._unanswered = None

    async def _call(self, client: ChatClient, line: Line, message: AnyMessage) -> None:
        """Send any message. In a pipe, the next line waits for its end. A person may talk meanwhile."""
        if self._calling is not None and not self._calling.done():
            self._screen.report(line, "the call before it still runs; Ctrl-C cancels that")
            return
        self._calling = asyncio.create_task(self._calls.run(client, message))
        if not self._screen.live and not await self._calling:
            self.failed = True

    async def _send(self, client: ChatClient, line: Line) -> None:
        problem = line.problem
        tries = 0
        while not problem:
            try:
                reply = await client.request("chat.send", room=self._room, text=line.text, client_id=line.client_id)
            except RequestRefused as refused:
                tries += 1
                if not refused.retryable or tries == TRIES:
                    problem = str(refused)
                else:
                    await asyncio.sleep(max(refused.after_ms / 1000, BREATH_SECONDS))
            else:
                self._said = reply["message"]["changed"]
                return
        self._fail(line, problem)

    def _fail(self, line: Line, problem: str) -> None:
        self.failed = True
        self._screen.report(line, problem)

    async def _wait_for_echo(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ECHO_SECONDS):
                while self._position < self._said:
                    self._heard.clear()
                    await self._heard.wait()

    async def _wait(self, lost: ConnectionLost) -> None:
        """Wait as long as the gateway asks, or longer each time. Raise `StartError` if reconnecting is useless."""
        if lost.final or self._epoch is None:
            raise StartError(str(lost)) from None
        now = time.monotonic()
        if self._attempts == 0:
            self._lost_at = now
            self._screen.notify(f"the connection is lost ({lost}); reconnecting")
        if not self._screen.live and now - self._lost_at > PATIENCE_SECONDS:
            raise StartError(f"{lost}; gave up after {PATIENCE_SECONDS} s, the lines from here on were not sent")
        if lost.expired:
            self._account.token = None
        delay = min(FIRST_DELAY_SECONDS * 2**self._attempts, LONGEST_DELAY_SECONDS)
        self._attempts += 1
        # With a random part, so that clients of one lost gateway return at different moments.
        await asyncio.sleep(max(lost.after_ms / 1000, 0) + delay * random.uniform(0.5, 1))  # noqa: S311 - no secret
