"""The hostile clients send what they should, and the gateway that they meet has its own limits."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from gateway.config.settings import Settings
from proofs.hostile import default_limits
from proofs.hostile.attackers import all_ended
from proofs.hostile.attacks import ATTACKS, Hostile, frame, message, shortfall
from tests.support.raw_server import raw_server

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def received(data: bytes) -> list[Frame]:
    protocol = Protocol(SERVER, state=State.OPEN)
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_one_of_the_standard(size: int) -> None:
    [found] = received(frame(b"x" * size))
    assert found.data == b"x" * size


def test_a_half_frame_waits_for_its_end() -> None:
    assert received(frame(b"ab", length=5)) == []
    [found] = received(frame(b"ab", length=5) + b"cde")
    assert found.data == b"abcde"


def test_pings_and_messages_are_what_they_say() -> None:
    [ping, chat] = received(frame(b"hello", 9) + message("ping"))
    assert ping.opcode is Opcode.PING
    assert chat.data == b'{"type":"ping","id":1,"data":{}}'


def test_there_is_an_attack_of_each_kind() -> None:
    named = " ".join(ATTACKS)
    for kind in (
        "never read",
        "headers",
        "bodies",
        "hands",
        "half frames",
        "wrong frames",
        "pings",
        "joins",
        "log-ins",
    ):
        assert kind in named
    for kind in ("handshakes", "big messages", "rooms", "cancelled streams"):
        assert f"a flood of {kind}" in ATTACKS


def test_the_gateway_has_the_limits_that_it_has_by_default() -> None:
    limits = default_limits()
    assert limits["GATEWAY_MESSAGE_RATE"] == str(Settings.model_fields["message_rate"].default) != "0"
    assert limits["GATEWAY_PASSWORD_ROUNDS"] == str(Settings.model_fields["password_rounds"].default)
    assert "GATEWAY_SECRET_KEY" not in limits


def text_frame(content: bytes) -> bytes:
    return bytes([0x81, 126]) + len(content).to_bytes(2) + content


async def welcomes(answer: bytes) -> Hostile:
    """Open a WebSocket at a server with this answer, and return what the hostile clients have counted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.write_eof()

    async with raw_server(serve) as port:
        hostile = Hostile(port, ["token"], "lobby")
        try:
            async with hostile.welcomed(0):
                pass
        except ConnectionError:
            pass
        return hostile


@pytest.mark.server
async def test_a_client_is_hostile_from_its_welcome_on() -> None:
    content = b'{"type":"welcome","data":{"text":"%b"}}' % (b"x" * 200)
    assert (await welcomes(SWITCHING + text_frame(content))).counts["welcomes"] == 1


@pytest.mark.server
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", SWITCHING + text_frame(b'{"type":"error"}' + b" " * 200)]
)
async def test_a_client_that_the_gateway_refuses_is_no_hostile_client(answer: bytes) -> None:
    found = (await welcomes(answer)).counts
    assert (found["connections"], found["welcomes"]) == (1, 0)


async def test_a_hostile_client_that_breaks_down_breaks_the_proof() -> None:
    async def broken() -> None:
        raise ValueError("no frame")

    async def busy() -> None:
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(busy()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with pytest.raises(ValueError, match="no frame"):
        await all_ended(tasks)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_without_clients_falls_short(name: str) -> None:
    least = ATTACKS[name].least(6)
    assert shortfall(least, {})
    assert not shortfall(least, least)


def test_a_flood_of_less_than_half_its_rate_falls_short() -> None:
    least = ATTACKS["a flood of pings"].least(6)
    assert least == {"welcomes": 20, "frames": 6000}
    assert shortfall(least, {"welcomes": 20, "frames": 5999}) == "5,999 frames"
