"""Frames: a bad one gets an answer, and the connection stays open."""

import json
import logging
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.metrics import metrics_of
from tests.support.waiting import until
from tests.support.wire import frame, wire

BAD_FRAMES = {
    "not JSON": "hello",
    "half an object": '{"type":"ping"',
    "two objects": '{"type":"ping"}{"type":"ping"}',
    "an array": "[]",
    "a number": "7",
    "a string": '"ping"',
    "true": "true",
    "null": "null",
    "binary": b'{"type":"ping"}',
    "NaN": '{"type":"echo","data":NaN}',
    "infinity": '{"type":"echo","data":-Infinity}',
    "a number beyond a double": '{"type":"echo","data":1e400}',
    "ten thousand digits": '{"type":"echo","data":' + "9" * 10_000 + "}",
    "a lone surrogate": '{"type":"echo","data":"\\ud800"}',
    "U+0000": '{"type":"echo","data":"a\\u0000b"}',
    "U+0000 in a key": '{"type":"echo","data":{"a\\u0000b":1}}',
    "100 levels of arrays": '{"type":"echo","data":' + "[" * 100 + "]" * 100 + "}",
    "100 levels of objects": '{"type":"echo","data":' + '{"a":' * 100 + "1" + "}" * 101,
    "50,000 levels": "[" * 50_000,
    "1,000 levels behind a duplicate key": '{"type":"echo","data":' + "[" * 1000 + "]" * 1000 + ',"data":1}',
    "a duplicate key": '{"type":"ping","type":"bye"}',
    "a duplicate key far in": '{"type":"echo","data":[{"a":1,"b":":","a":2}]}',
    "a duplicate key behind spaces": '{"type" :"echo","data":{"a" : 1, "a" :2}}',
    "a byte order mark": "\ufeff{}",
    "single quotes": "{'type':'ping'}",
    "a trailing comma": '{"type":"ping",}',
}

GOOD_FRAMES = {
    "colons in text": '{"type":"echo","id":1,"data":{"a":"12:00:00","b":"{\\"c\\":1}"}}',
    "brackets in text": '{"type":"echo","id":1,"data":"' + "[{" * 100 + '"}',
    "an escaped backslash before u0000": '{"type":"echo","id":1,"data":"\\\\u0000"}',
    "32 levels": '{"type":"echo","id":1,"data":' + "[" * 31 + "]" * 31 + "}",
    "the same key in two objects": '{"type":"echo","id":1,"data":[{"a":1},{"a":2}]}',
    "an emoji as a surrogate pair": '{"type":"echo","id":1,"data":"\\ud83d\\ude00"}',
    "spaces everywhere": ' { "type" : "echo" , "id" : 1 , "data" : { "a" : [ 1 , null ] } } ',
    "64-bit integers": '{"type":"echo","id":1,"data":[9223372036854775807,-9223372036854775808]}',
}


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_a_bad_frame_is_answered_and_the_connection_lives(app: App, alice: str, frame: str | bytes) -> None:
    async with app.connect(alice) as client:
        await client.send(frame)
        error = await client.expect("error", status=40000, name="bad_frame", id=None, retryable=False)
        assert error["message"].startswith("expected a ")
        await client.expect_nothing()


@pytest.mark.parametrize("frame", GOOD_FRAMES.values(), ids=GOOD_FRAMES)
async def test_an_unusual_frame_that_is_fine_is_echoed_as_it_came(app: App, alice: str, frame: str) -> None:
    async with app.connect(alice) as client:
        await client.send(frame)
        assert await client.expect("reply", id=1) == json.loads(frame)["data"]


@pytest.mark.parametrize("frame", ["", b"", "\n", " \r\n"], ids=["empty text", "empty binary", "newline", "blank"])
async def test_an_empty_frame_keeps_alive_and_gets_no_answer(app: App, alice: str, frame: str | bytes) -> None:
    async with app.connect(alice) as client:
        await client.send(frame)
        await client.expect_nothing()


async def test_a_frame_of_65_kib_is_refused_with_both_sizes(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send('{"type":"echo","id":1,"data":"' + "x" * (65 * 1024 - 32) + '"}')
        error = await client.expect("error", status=41300, name="too_large", retryable=False)
        assert error["message"] == "expected a message of at most 65536 bytes, got 66560"
        await client.expect_nothing()


async def test_a_frame_of_exactly_64_kib_is_fine_and_its_size_counts_in_bytes(app: App, alice: str) -> None:
    head, tail = '{"type":"echo","id":1,"data":"', '"}'
    room = 65536 - len(head) - len(tail)
    async with app.connect(alice) as client:
        await client.send(head + "x" * room + tail)
        assert (await client.next())["data"] == "x" * room
        await client.send(head + "x" * (room - 1) + "é" + tail)
        await client.expect("error", status=41300)


async def test_a_frame_far_over_the_limit_ends_the_connection(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send("x" * (4 * 65536 + 1))
        await client.expect_close(1009, "too_large")


async def test_the_gateway_lives_on_when_a_client_vanishes_in_the_middle_of_a_frame(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        # A text frame that announces 100 bytes, of which 3 come.
        client.ws.transport.write(b"\x81\xe4\x00\x00\x00\x00abc")
        client.ws.transport.abort()
    async with app.connect(alice) as client:
        await client.expect_nothing()


async def _error_times(client: ChatClient, count: int) -> None:
    for _ in range(count):
        await client.send("nonsense")
        await client.expect("error", status=40000)


async def test_the_tenth_bad_frame_within_ten_seconds_ends_the_connection(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_protocol_errors=10)) as app, app.connect("alice") as client:
        await _error_times(client, 10)
        await client.expect("bye", code=4400, reason="too_many_errors", reconnect="never")
        await client.expect_close(4400, "too_many_errors")


async def test_bad_frames_over_a_longer_time_are_forgiven(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_protocol_errors=10)
    async with App(gateway) as app, app.connect("alice") as client:
        await _error_times(client, 9)
        gateway.clock.ahead += 10
        await _error_times(client, 9)
        await client.expect_nothing()


async def test_unknown_types_count_as_bad_frames_and_wrong_fields_do_not(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_protocol_errors=3)) as app, app.connect("alice") as client:
        for _ in range(5):
            await client.refused("room.join", room="NO")
        for _ in range(3):
            await client.refused("no.such.type")
        await client.expect("bye", code=4400)


async def test_messages_over_the_rate_are_refused_and_told_when_to_come_again(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=10, message_burst=3)
    async with App(gateway) as app, app.connect("alice") as client:
        for _ in range(3):
            await client.ask("ping")
        error = await client.refused("ping")
        assert (error["status"], error["name"], error["retryable"]) == (42900, "rate_limited", True)
        assert 0 < error["retry_after_ms"] <= 101
        gateway.clock.ahead += error["retry_after_ms"] / 1000
        await client.ask("ping")


async def test_a_client_that_keeps_on_over_the_rate_is_sent_away(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=1)
    async with App(gateway) as app, app.connect("alice") as client:
        await client.ask("ping")
        for _ in range(100):
            gateway.clock.ahead += 0.4
            with suppress(ConnectionClosed):  # what came before the close can still be read
                await client.send({"type": "ping", "id": 1})
            if (frame := await client.next())["type"] == "bye":
                break
        assert frame["data"] == {"code": 4429, "reason": "rate_abuse", "reconnect": "after_delay", "after_ms": 10000}
        await client.expect_close(4429, "rate_abuse")


async def test_a_reader_that_stops_reading_is_closed_as_slow_without_any_wait(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(outbox_frames=16, outbox_bytes=524288)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann:
        async with app.connect("bob") as ben:
            await ben.ask("room.join", room="lobby")
            await ann.expect("room.joined")
            ben.ws.transport.pause_reading()
            for _ in range(400):
                await ann.ask("chat.send", room="lobby", body="x" * 60_000)
                await ann.expect("chat.message")
                if gateway.state.connections.count == 1:
                    break
            await until(lambda: gateway.state.connections.count == 1)
            ben.ws.transport.abort()
        await ann.expect_nothing()
        assert (await metrics_of(app))['gateway_connections_ended_total{code="4508",reason="slow_consumer"}'] == 1


def ends(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about connections that have ended, without the seconds."""
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.chat.websocket"]
    return [line.partition(", after ")[0] for line in lines if line.startswith("a connection ended: ")]


async def test_each_connection_has_one_line_in_the_log_when_it_ends(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = own_gateway(max_protocol_errors=2, heartbeat_seconds=0.3)
    async with App(gateway) as app:
        token = await app.token("alice")

        async def ended(line: str) -> None:
            await until(lambda: ends(caplog) != [], 5)
            assert ends(caplog) == [f"a connection ended: {line}"]
            assert token[-20:] not in caplog.text
            caplog.clear()

        async with app.connect("alice") as client:
            await client.send({"type": "bye"})
            await client.expect("bye")
        await ended("user alice, code 1000, bye")
        async with app.connect("alice") as client:
            await client.ws.close(1001, f"a reason of the client's own: {token[:50]}")
        await ended("user alice, code 1001, closed")
        async with app.connect("alice") as client:
            client.ws.transport.abort()
        await ended("user alice, code 1006, gone")
        async with app.connect("alice") as client:
            for _ in range(2):
                await client.send("nonsense")
            await client.until(type="bye")
        await ended("user alice, code 4400, too_many_errors")
        async with wire(app, "alice") as line:
            await line.write(frame(b"\xff\xff"))
            await line.closed(1007)
        await ended("user alice, code 1007, closed")
        async with wire(app, "alice") as line:  # answers no ping
            await line.closed(1011)
        await ended("user alice, code 1011, closed")
        async with app.socket() as stranger:
            await stranger.send({"type": "ping"})
            await stranger.until(type="bye")
        await ended("user -, code 1008, authentication_failed")
        async with app.socket("?token=bad") as client:
            await client.until(type="bye")
        assert ends(caplog) == []
        assert "refused a WebSocket with 1008, authentication_failed: " in caplog.text


async def test_the_line_about_the_end_says_for_how_long_the_connection_was(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = own_gateway(away_minutes=0)
    gateway.clock.stop()
    async with App(gateway) as app:
        async with app.connect("alice"):
            gateway.clock.ahead += 12.25
        await until(lambda: ends(caplog) != [], 5)
    assert "user alice, code 1000, closed, after 12.2 seconds" in caplog.text
