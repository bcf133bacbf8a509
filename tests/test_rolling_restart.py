"""Two nodes restart one after the other while clients send: nothing acknowledged is lost, and nothing is doubled."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from gateway import testing
from gateway.core.tasks import cancel_and_wait
from gateway_client import Gateway, connect
from gateway_client.messages import JoinRoom, SendMessage
from tests.gateway.cli.command import Served
from tests.support.balancer import balancer
from tests.support.child import free_port
from tests.support.client import App, Frame
from tests.support.nodes import SECRET
from tests.support.postgres import fresh_database
from tests.support.valkey import running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server

SENDERS = 6
ENOUGH = 20
"""Messages that each client has acknowledged before a node restarts, and after it is back."""


class Sender:
    """A client that sends one message after the other, and remembers the acknowledged ones."""

    def __init__(self, name: str, gateway: Gateway) -> None:
        self.name = name
        self._gateway = gateway
        self.acknowledged: list[str] = []
        self.sent = 0

    async def send(self) -> None:
        """Send until this is cancelled."""
        while True:
            self.sent += 1
            text = f"{self.name} {self.sent}"
            reply = await self._gateway.call(SendMessage(room="lobby", text=text))
            assert reply.message.text == text
            self.acknowledged.append(text)
            await asyncio.sleep(0.01)


def node(folder: Path, port: int, **variables: str) -> Served:
    """Start a node, as an operator does."""
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"GATEWAY_SECRET_KEY": SECRET, "GATEWAY_DRAIN_SECONDS": "5", **variables}
    return Served(folder, port=port, **settings)


def app_of(node: Served) -> App:
    return App(cast(testing.Gateway, node))


async def log_of(app: App) -> list[Frame]:
    """Read all of the room."""
    async with app.in_room("reader", "lobby") as client:
        log: list[Frame] = []
        while page := (await client.ask("chat.history", room="lobby", after=len(log), limit=100))["messages"]:
            log += page
        return log


async def test_no_message_is_lost_or_doubled_while_both_nodes_restart(tmp_path: Path, postgres: str) -> None:
    with running_valkey() as valkey, fresh_database(postgres) as url:
        shared = {"GATEWAY_DATABASE_URL": url, "GATEWAY_BUS_URL": valkey.url}
        ports = free_port(), free_port()
        start = [lambda place=place: node(tmp_path / f"node-{place}", ports[place], **shared) for place in (0, 1)]
        nodes = [await asyncio.to_thread(each) for each in start]
        try:
            await _send_while_all_restart(nodes, start, ports)
        finally:
            for each in nodes:
                await asyncio.to_thread(each.stop)


async def _send_while_all_restart(nodes: list[Served], start: list[Any], ports: tuple[int, int]) -> None:
    names = [f"sender-{number}" for number in range(SENDERS)]
    async with app_of(nodes[0]) as app:
        tokens = {name: await app.token(name) for name in [*names, "listener"]}
    heard: list[str] = []
    async with balancer(*ports) as port, AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        clients = {name: await stack.enter_async_context(connect(url, token=token)) for name, token in tokens.items()}
        room = clients["listener"].room("lobby")
        messages = room.messages()
        await room.join(limit=0)

        async def listen() -> None:
            async for message in messages:
                heard.append(message.text or "")  # noqa: PERF401 - others look at it meanwhile

        senders = [Sender(name, clients[name]) for name in names]
        for sender in senders:
            await clients[sender.name].call(JoinRoom(room="lobby"))
        tasks = [asyncio.create_task(work) for work in (*(sender.send() for sender in senders), listen())]
        stack.push_async_callback(cancel_and_wait, *tasks)
        for place in range(len(nodes)):
            await _all_go_on(senders)
            assert await asyncio.to_thread(nodes[place].stop) == 0
            nodes[place] = await asyncio.to_thread(start[place])
        await _all_go_on(senders)
        assert [task for task in tasks if task.done()] == []
        await cancel_and_wait(*tasks[:-1])
        async with app_of(nodes[1]) as app:
            log = await log_of(app)
        await until(lambda: heard[-1:] == [log[-1]["text"]])
    _check([message["text"] for message in log], heard, senders)


async def _all_go_on(senders: list[Sender]) -> None:
    """Wait until each client has got so many acknowledgements more."""
    before = {sender.name: len(sender.acknowledged) for sender in senders}
    await until(lambda: all(len(sender.acknowledged) >= before[sender.name] + ENOUGH for sender in senders), within=60)


def _check(log: list[str], heard: list[str], senders: list[Sender]) -> None:
    acknowledged = [text for sender in senders for text in sender.acknowledged]
    assert [text for text, count in Counter(log).items() if count > 1] == []  # 0 doubled
    assert [text for text in acknowledged if text not in set(log)] == []  # 0 lost
    assert heard == log  # the listener has each once, in the log's order
    for sender in senders:
        mine = [text for text in log if text.startswith(f"{sender.name} ")]
        assert mine == [f"{sender.name} {number}" for number in range(1, len(mine) + 1)]
        assert len(mine) - len(sender.acknowledged) in {0, 1}  # the last may have been under way at the end
