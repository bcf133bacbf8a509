"""A listener behind a slow link, and one sender that sends as much as the default limits allow."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.core.test_costs import LIMITS
from tests.support.client import App, ChatClient
from tests.support.waiting import until
from tests.support.wire import TEXT, Wire, frame, handshake

LINK_BYTES = 1_000_000
"""A second: 8 Mbit."""
PIECE = 20_000
SEGMENT = 1448
BUFFER = 16 * 1024
SENDING_SECONDS = 2.0
WAIT_SECONDS = 20

# JSON that comes as 64 KB and goes as four times that.
NUMBERS = "[" + ",".join(["1e15"] * 12_900) + "]"


@asynccontextmanager
async def behind_a_slow_link(gateway: Gateway, token: str) -> AsyncIterator[Wire]:
    """Connect over a link of 8 Mbit/s with buffers as over Ethernet."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (gateway.host, gateway.port))
    slow = asyncio.StreamReader()
    reader, writer = await asyncio.open_connection(sock=sock, limit=BUFFER)
    carrying = asyncio.create_task(carry(reader, slow))
    writer.write(handshake(token))
    async with asyncio.timeout(WAIT_SECONDS):
        await slow.readuntil(b"\r\n\r\n")
    try:
        yield Wire(slow, writer)
    finally:
        carrying.cancel()
        writer.close()


async def carry(reader: asyncio.StreamReader, slow: asyncio.StreamReader) -> None:
    """Carry so many bytes a second, and no more after a rest."""
    while data := await reader.read(PIECE):
        slow.feed_data(data)
        await asyncio.sleep(len(data) / LINK_BYTES)
    slow.feed_eof()


async def send_all_that_is_let_through(client: ChatClient, room: str, content: str) -> int:
    """Send for some seconds, as fast as possible, and return how many messages were accepted."""
    loop = asyncio.get_running_loop()
    accepted, end = 0, loop.time() + SENDING_SECONDS
    while loop.time() < end:
        await client.send(f'{{"type":"chat.send","id":"m","data":{{"room":"{room}",{content}}}}}')
        answer = await client.until(id="m")
        if answer["status"] == 20000:
            accepted += 1
        else:
            assert answer["status"] == 42900, answer
            await asyncio.sleep(min(answer["retry_after_ms"] / 1000, max(0, end - loop.time())))
    return accepted


async def hear(line: Wire, heard: list[int]) -> None:
    """Record the offsets of messages until the connection ends."""
    while True:
        opcode, payload = await line.read()
        assert opcode == TEXT, payload
        event: dict[str, Any] = json.loads(payload)
        assert event["type"] != "bye", event
        if event["type"] == "chat.message":
            heard.append(event["data"]["offset"])
        elif event["type"] == "reply":  # to the join, which has what was said before it
            heard.extend(message["offset"] for message in event["data"]["messages"])


@pytest.mark.parametrize(
    "content",
    [f'"body":"{"x" * 65_000}"', f'"body":{NUMBERS}', f'"text":"{"x" * 4000}"'],
    ids=["long messages", "numbers that grow", "many texts"],
)
async def test_a_listener_at_8_mbit_hears_all_that_one_sender_may_send(own_gateway: OwnGateway, content: str) -> None:
    gateway = own_gateway(**LIMITS)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann:
        async with behind_a_slow_link(gateway, await app.token("bob")) as ben:
            await ben.write(frame('{"type":"room.join","id":1,"data":{"room":"lobby"}}'))
            await ann.expect("room.joined", user="bob")
            heard: list[int] = []
            hearing = asyncio.create_task(hear(ben, heard))
            accepted = await send_all_that_is_let_through(ann, "lobby", content)
            await until(lambda: len(heard) == accepted or hearing.done())
            hearing.cancel()
            assert heard == list(range(1, accepted + 1))
            assert accepted > 2
            assert gateway.state.connections.count == 2
