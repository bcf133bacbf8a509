"""Receivers of events: real servers on loopback, which verify each request with the package of Standard Webhooks."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.core.room_patterns import RoomPatterns
from gateway.routes.model import Hook, Routes
from gateway.routes.signatures import Signer
from gateway.testing import Gateway
from tests.support.upstreams import Conversation, running_upstream
from tests.support.waiting import until


@dataclass(frozen=True)
class Received:
    """An event, as it came."""

    id: str
    body: bytes
    content: dict[str, Any]
    headers: dict[str, str]
    verified: bool

    @property
    def type(self) -> str:
        found: str = self.content["type"]
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.content["data"]
        return found


@dataclass
class Receiver:
    """A receiver, what it got, and how it answers."""

    url: str
    secret: str
    got: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int] = lambda _: 204
    """The status for an event. Every status but 204 has a body."""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it to hold the answers back."""
    at_work: int = 0
    most_at_work: int = 0

    def hook(self, *types: Any, name: str = "push", **changes: Any) -> Hook:
        """Return a hook that sends events here."""
        rooms = RoomPatterns.parse(changes.pop("rooms", ["*"]))
        secret = changes.pop("secret", self.secret)
        return Hook(name, self.url, Signer.parse([secret]), frozenset(types), rooms=rooms, **changes)

    def of_type(self, *types: str) -> list[Received]:
        """Return the events of some types."""
        return [each for each in self.got if each.type in types]

    async def expect(self, count: int, *types: str) -> list[Received]:
        """Wait until there are so many different events of some types, or of all, and return them."""

        def found() -> list[Received]:
            return list({each.id: each for each in (self.of_type(*types) if types else self.got)}.values())

        await until(lambda: len(found()) >= count)
        assert len(found()) == count, found()
        return found()

    async def behave(self, client: Conversation) -> None:
        """Take events, one after the other on a connection."""
        while True:
            request = await client.request()
            received = Received(
                request.headers["webhook-id"], request.body, request.json, request.headers, self._verifies(request)
            )
            self.got.append(received)
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
            try:
                await self.may_answer.wait()
            finally:
                self.at_work -= 1
            status = self.answer(received)
            if status == 204:
                await client.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                await client.answer({"secret": "of the receiver"}, status, location="http://127.0.0.1:9/")

    def _verifies(self, request: Any) -> bool:
        try:
            Webhook(self.secret).verify(request.body, request.headers)
        except WebhookVerificationError:
            return False
        return True


def new_secret() -> str:
    """Return a secret of a hook."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port, and stop it at the end."""
    receiver = Receiver("", new_secret())
    receiver.may_answer.set()
    async with running_upstream(receiver.behave) as upstream:
        receiver.url = upstream.url
        yield receiver


async def use_hooks(gateway: Gateway, *hooks: Hook) -> None:
    """Let a gateway send events to these hooks from now on, and wait until it does, if no other node has them."""

    async def use() -> None:
        gateway.state.webhooks.use(Routes(hooks={hook.name: hook for hook in hooks}))

    await gateway.run(use())
