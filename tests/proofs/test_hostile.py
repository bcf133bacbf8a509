"""The hostile clients send what they should, and the gateway that they meet has its own limits."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from gateway.config.settings import Settings
from proofs.hostile import default_limits
from proofs.hostile.attacks import ATTACKS, frame, message


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
