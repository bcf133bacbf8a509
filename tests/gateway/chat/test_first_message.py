"""A connection without a credential brings one in its first message, and may cost little until then."""

import asyncio
import json
import sqlite3
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.chat.websocket import MAX_FIRST_EMPTY
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.server

TOLD_OR_CUT = {4429, 1006}
"""The end of a connection that pings too often: a client that continues after its `bye` is cut off."""


async def auth(client: ChatClient, token: str, **more: Any) -> None:
    await client.send({"type": "auth", "data": {"token": token}, **more})


async def test_the_first_message_logs_in_and_is_answered_before_the_welcome(app: App, alice: str) -> None:
    async with app.socket() as client:
        await auth(client, await app.token(alice), id="a")
        reply = await client.expect("reply", id="a", status=20000)
        welcome = await client.expect("welcome", user=alice)
        assert reply == {name: welcome[name] for name in ("token_expires_at", "scopes")}
        await client.expect_nothing()


async def test_what_is_sent_right_behind_it_is_handled_after_it(app: App, alice: str) -> None:
    async with app.socket() as client:
        await auth(client, await app.token(alice))
        await client.send({"type": "echo", "id": 1, "data": "x" * 5000})
        await client.expect("welcome")
        await client.expect("reply", id=1)
        await client.ask("echo", text="y" * 50_000)  # the limit for pending connections is gone


async def test_empty_frames_before_it_are_keep_alives(app: App, alice: str) -> None:
    async with app.socket() as client:
        for frame in ("", b"", " \n"):
            await client.send(frame)
        await auth(client, await app.token(alice))
        await client.expect("welcome", user=alice)


async def test_many_empty_frames_are_no_keep_alives(app: App) -> None:
    async with app.socket() as client:
        for _ in range(MAX_FIRST_EMPTY + 1):
            await client.send("")
        await client.expect("error", status=40000)
        await client.expect("bye", code=1008)


FIRST: dict[str, tuple[Any, int, Any]] = {
    "another message": ({"type": "ping", "id": 1}, 40001, 1),
    "a message of the chat": ({"type": "chat.send", "data": {"room": "lobby", "text": "hi"}}, 40001, None),
    "a refresh": ({"type": "auth.refresh", "id": 2, "data": {"token": "x"}}, 40001, 2),
    "an unknown type": ({"type": "login", "id": 3}, 40001, 3),
    "no token": ({"type": "auth", "id": 4}, 42200, 4),
    "no data": ({"type": "auth", "id": 5, "data": None}, 42200, 5),
    "a token that is a number": ({"type": "auth", "id": 6, "data": {"token": 7}}, 42200, 6),
    "a token and more": ({"type": "auth", "id": 7, "data": {"token": "x", "user": "alice"}}, 42200, 7),
    "a token that is too long": ({"type": "auth", "id": 8, "data": {"token": "x" * 4097}}, 42200, 8),
    "a bad token": ({"type": "auth", "id": 9, "data": {"token": "nonsense"}}, 40001, 9),
    "a wrong envelope": ({"type": "auth", "id": 10, "extra": 1}, 42200, 10),
    "an array": ("[]", 40000, None),
    "no JSON": ("token", 40000, None),
    "a binary frame": (b'{"type":"auth"}', 40000, None),
    "a message over 8 KiB": (json.dumps({"type": "auth", "data": {"token": "x" * 8192}}), 41300, None),
}


@pytest.mark.parametrize(("frame", "status", "id"), FIRST.values(), ids=FIRST)
async def test_any_other_first_message_is_answered_and_ends_the_connection(
    app: App, frame: Any, status: int, id: int | None
) -> None:
    async with app.socket() as client:
        await client.send(frame)
        await client.send({"type": "ping", "id": 99})  # is no longer handled
        await client.expect("error", status=status, id=id)
        await client.expect("bye", code=1008, reason="authentication_failed")
        await client.expect_close(1008, "authentication_failed")


async def test_a_stranger_may_not_send_much_in_pieces_either(app: App) -> None:
    async with app.socket() as client:
        with suppress(ConnectionClosed):
            await client.ws.send(piece for piece in ["x" * 5000] * 2)
        with pytest.raises(ConnectionClosed, match="1009"):
            await client.next()


async def test_whoever_does_not_log_in_in_time_is_told_and_sent_away(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(auth_timeout_seconds=0.5)
    async with App(gateway) as app, app.socket() as silent, app.socket() as chatty:
        await chatty.send("")
        for client in (silent, chatty):
            error = await client.expect("error", status=40001)
            assert "within 0.5 seconds" in error["message"]
            await client.expect("bye", code=4408, reason="auth_timeout", reconnect="with_backoff")
            await client.expect_close(4408, "auth_timeout")
        async with app.connect("alice") as client:
            await client.expect_nothing()


async def test_with_a_timeout_of_zero_it_is_refused_at_once(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(auth_timeout_seconds=0)) as app, app.socket() as client:
        error = await client.expect("error", status=40001)
        assert "no credential" in error["message"]
        await client.expect("bye", code=1008)


async def test_headers_that_are_no_credential_leave_it_to_the_first_message(app: App, alice: str) -> None:
    for headers in ({"Authorization": "Basic YTpi"}, {"Authorization": ""}, {"Cookie": "session=x"}):
        async with app.socket("?tokn=x", additional_headers=headers) as client:
            await auth(client, await app.token(alice))
            await client.expect("welcome", user=alice)


async def test_an_address_has_so_many_pending_connections_and_a_log_in_or_an_end_makes_room(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(max_unauthenticated_per_address=2)
    async with App(gateway) as app:
        token = await app.token("alice")
        async with app.socket() as first, app.socket():
            async with app.socket() as third:
                await third.expect("error", status=42900, retryable=True)
                await third.expect("bye", code=1013, reason="overloaded", reconnect="with_backoff")
            async with app.socket(f"?token={token}") as client:
                await client.expect("welcome")  # a connection with a credential is not pending
            await auth(first, token)
            await first.expect("welcome")
            async with app.socket() as fourth:
                await auth(fourth, token)
                await fourth.expect("welcome")
        async with app.socket() as one, app.socket() as another:
            for client in (one, another):
                await auth(client, token)
                await client.expect("welcome")


async def test_a_stranger_costs_one_task_and_leaves_nothing_behind(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    before = await tasks(gateway)
    async with App(gateway) as app, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(app.socket()) for _ in range(20)]
        assert await tasks(gateway) == before + 20
        assert gateway.state.connections.count == 0
        for client in clients[:10]:
            client.ws.transport.abort()
    await until(lambda: has_tasks(gateway, before))


async def has_tasks(gateway: Gateway, count: int) -> bool:
    return await tasks(gateway) == count


async def tasks(gateway: Gateway) -> int:
    async def work() -> int:
        return len(asyncio.all_tasks())

    return await gateway.run(work())


async def test_a_gateway_that_stops_does_not_wait_for_strangers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(settings_for_tests(tmp_path)))
        async with App(gateway) as app, app.socket() as client:
            stopping = asyncio.create_task(asyncio.to_thread(stack.close))
            with pytest.raises(ConnectionClosed) as closed:
                await client.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            await stopping


async def test_a_store_that_fails_is_told_as_such(own_gateway: OwnGateway, tmp_path: Path) -> None:
    async with App(own_gateway()) as app, app.socket() as client:
        token = await app.token("alice")
        with closing(sqlite3.connect(tmp_path / "gateway.db")) as database:
            database.execute("ALTER TABLE users RENAME TO gone")
        await auth(client, token, id=1)
        await client.expect("error", id=1, status=50300, retryable=True)
        await client.expect("bye", code=1013, reason="overloaded")


@pytest.mark.parametrize("protocol", ["websockets-sansio", "wsproto"])
async def test_it_works_the_same_without_the_direct_way(own_gateway: OwnGateway, protocol: str) -> None:
    gateway = own_gateway(auth_timeout_seconds=0.5, options={"ws": protocol})
    async with App(gateway) as app:
        token = await app.token("alice")
        async with app.socket(subprotocols=["gateway.v1"]) as client, app.socket() as late, app.socket() as wrong:
            await auth(client, token, id=1)
            await client.expect("reply", id=1)
            await client.expect("welcome", user="alice")
            assert client.ws.subprotocol == "gateway.v1"
            await client.expect_nothing()
            await wrong.send({"type": "ping", "id": 1})
            await wrong.expect("error", id=1, status=40001)
            await wrong.expect("bye", code=1008)
            await wrong.expect_close(1008, "authentication_failed")
            await late.expect("error", status=40001)
            await late.expect("bye", code=4408)
            await late.expect_close(4408, "auth_timeout")


def ping_at_once(client: ChatClient, count: int) -> None:
    """Send all of them in one write. One after the other, a busy machine may take longer than the limit asks for."""
    client.ws.transport.write(b"\x89\x80\0\0\0\0" * count)  # RFC 6455 §5.5.2, masked with zeros


async def end_of_flood(client: ChatClient) -> None:
    """Wait until the gateway has cut a client off for its pings."""
    async with asyncio.timeout(WAIT_SECONDS):
        await client.ws.wait_closed()
    assert client.ws.close_code in TOLD_OR_CUT


async def test_strangers_from_one_address_share_what_they_may_ping(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(app.socket()) for _ in range(10)]
        user = await stack.enter_async_context(app.connect("alice"))
        pongs = [await stranger.ws.ping() for stranger in strangers for _ in range(5)]
        async with asyncio.timeout(20):
            await asyncio.gather(*pongs)
        for stranger in strangers:
            ping_at_once(stranger, 200)
        for stranger in strangers:
            await end_of_flood(stranger)
        async with asyncio.timeout(20):
            await asyncio.gather(*[await user.ws.ping() for _ in range(500)])
        await user.expect_nothing()
        async with app.socket() as late:
            await auth(late, await app.token("bob"))
            await late.expect("welcome", user="bob")
            async with asyncio.timeout(20):
                await asyncio.gather(*[await late.ws.ping() for _ in range(500)])  # no longer pending


async def test_the_connections_of_a_user_share_what_they_may_ping(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as phone, app.connect("alice") as tab:
        ping_at_once(phone, 3000)
        await end_of_flood(phone)
        ping_at_once(tab, 3000)
        await end_of_flood(tab)
        async with app.connect("bob") as ben, asyncio.timeout(20):
            await asyncio.gather(*[await ben.ws.ping() for _ in range(500)])
