"""Connections that end: whether the client comes back, when, and what becomes of its messages."""

import asyncio
import gc
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway_client import Lost, Reconnect, Refused, StateChanged, Times, connect, line
from gateway_client.messages import SendMessage
from gateway_client.returning import Backoff, lost_by
from tests.clients.python.scripted import HASTY, Scripted, Visit, client_of, scripted
from tests.clients.python.test_tokens import MovableClock
from tests.support.certificate import certificate
from tests.support.child import free_port
from tests.support.raw_server import Handle, raw_server
from tests.support.waiting import until

pytestmark = pytest.mark.server


PATIENT = replace(HASTY, first_delay=1e9, longest_delay=1e9)
"""It never comes back by itself."""


async def answer(visit: Visit) -> None:
    await visit.welcome()
    await visit.serve()


@pytest.mark.parametrize(
    ("code", "reason", "reconnect"),
    [
        (1000, "bye", "never"),
        (1008, "forbidden_origin", "never"),
        (1008, "not_found", "never"),
        (4400, "too_many_errors", "never"),
        (4403, "disconnected", "never"),
    ],
)
async def test_a_client_that_shall_not_come_back_stays_away(code: int, reason: str, reconnect: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.expect("echo")
        await visit.bye(code, reason, reconnect)

    async with scripted(script) as server, client_of(server) as gateway:
        events, states = gateway.events("x"), gateway.events(StateChanged)
        with pytest.raises(Lost, match=reason):
            await gateway.call("echo", {})
        with pytest.raises(Lost, match=reason) as ended:
            await anext(events)
        assert (ended.value.final, ended.value.code, ended.value.reason) == (True, code, reason)
        with pytest.raises(Lost, match=reason):
            await gateway.call(SendMessage(room="lobby", text="hi"))
        assert (await anext(states)).state == "closed"
        assert gateway.state == "closed"
        assert gateway.why is not None
        assert gateway.why.reconnect is Reconnect.NEVER
    assert len(server.visits) == 1


@pytest.mark.parametrize(
    ("code", "reason", "bye", "step"),
    [
        # A code with one of the reasons of its table.
        (1012, "draining", {}, "after_delay"),
        (1013, "overloaded", {}, "with_backoff"),
        (4410, "token_expired", {}, "new_credential"),
        (1008, "token_revoked", {}, "new_credential"),
        (1008, "not_found", {}, "never"),
        (4429, "rate_abuse", {}, "after_delay"),
        (1000, "bye", {}, "never"),
        # A proxy closes an idle connection with the code of a good end.
        (1000, "", {}, "with_backoff"),
        (1001, "", {}, "with_backoff"),
        (1006, "", {}, "with_backoff"),
        (None, "", {}, "with_backoff"),
        (4999, "tomorrow", {}, "with_backoff"),
        # `bye` decides, if it says a word that is known.
        (1012, "draining", {"reconnect": "never"}, "never"),
        (4403, "disconnected", {"reconnect": "with_backoff"}, "with_backoff"),
        (4403, "disconnected", {"reconnect": "some_day"}, "never"),
        (1011, "", {"reconnect": 7, "after_ms": "soon", "code": []}, "with_backoff"),
    ],
)
def test_bye_says_the_next_step_or_else_the_code(code: int | None, reason: str, bye: dict[str, Any], step: str) -> None:
    lost = lost_by(code, reason, bye, "")
    assert (lost.reconnect, lost.final) == (step, False)
    assert lost.after_ms == 0


def test_the_delays_have_full_jitter_and_grow_to_their_cap() -> None:
    backoff = Backoff(1.0, 30.0)
    lost = Lost("x")
    longest = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    for most in longest:
        assert 0 <= backoff.after(lost) <= most
    backoff.reset()
    many = [Backoff(1.0, 30.0).after(lost) for _ in range(1000)]
    assert min(many) < 0.05
    assert max(many) > 0.95
    assert backoff.after(Lost("x", Reconnect.AFTER_DELAY, after_ms=830)) == 0.83
    assert 0.83 <= backoff.after(Lost("x", Reconnect.AFTER_DELAY, after_ms=830)) <= 2.83
    assert 5 <= backoff.after(Lost("x", Reconnect.WITH_BACKOFF, after_ms=5000)) <= 9
    assert lost_by(1012, "x", {"after_ms": 10**15}, "").after_ms == 3_600_000


async def test_a_gateway_that_drains_says_when_to_come_back() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.reply(await visit.expect("echo"))
            await visit.bye(1012, "draining", "after_delay", after_ms=300)
        await visit.serve()

    async with scripted(script) as server:
        gateway = client_of(server)
        states = gateway.events(StateChanged)
        async with gateway:
            await gateway.call("echo", {})
            assert [(await anext(states)).state for _ in range(3)] == ["connecting", "open", "waiting"]
            began = time.monotonic()
            assert [(await anext(states)).state for _ in range(2)] == ["connecting", "open"]
            assert time.monotonic() - began >= 0.28
            assert gateway.why is None
    assert len(server.visits) == 2


async def test_a_gateway_that_says_bye_and_stays_is_cut_off() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.send(
                "bye", data={"code": 1012, "reason": "draining", "reconnect": "after_delay", "after_ms": 1}
            )
        await visit.serve()

    async with scripted(script) as server, client_of(server, times=Times(bye=0.05, first_delay=0.01)):
        await until(lambda: len(server.visits) == 2)


async def test_an_unanswered_send_is_repeated_once_and_everything_else_is_lost() -> None:
    sent: list[Any] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number > 1:
            while True:
                message = await visit.expect("chat.send")
                sent.append(message["data"])
                await visit.reply(message, {"message": stored(message["data"]), "duplicate": len(sent) == 3})
        first, second, echo = await visit.next(), await visit.next(), await visit.next()
        sent.extend(each["data"] for each in (first, second))
        assert echo["type"] == "echo"
        visit.drop()

    async with scripted(script) as server, client_of(server) as gateway:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(gateway.call(SendMessage(room="lobby", text="one")))
            two = group.create_task(gateway.call("chat.send", {"room": "lobby", "text": "two", "client_id": "mine"}))
            lost = group.create_task(lost_of(gateway.call("echo", {})))
        assert (await one).message.text == "one"
        assert (await two)["message"]["client_id"] == "mine"
        assert (await lost).final is False
    assert sent[:2] == sent[2:]
    assert [each["text"] for each in sent[:2]] == ["one", "two"]
    assert len(server.visits) == 2


async def test_messages_go_out_in_their_order_also_when_some_are_repeated() -> None:
    sent: list[str] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.next()
            await visit.next()
            visit.drop()
        while True:
            message = await visit.expect("chat.send")
            sent.append(message["data"]["text"])
            await visit.reply(message)

    async with scripted(script) as server, client_of(server) as gateway, asyncio.TaskGroup() as group:
        states = gateway.events(StateChanged)
        for text in ("first", "second"):
            group.create_task(gateway.call("chat.send", {"room": "lobby", "text": text}))
        async for event in states:
            if event.state == "open":  # nothing is faster than this loop
                await gateway.call("chat.send", {"room": "lobby", "text": "third"})
                break
    assert sent == ["first", "second", "third"]


async def test_a_message_is_repeated_only_while_the_gateway_remembers_it() -> None:
    clock = MovableClock()

    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.expect("chat.send")
            visit.drop()
        await visit.serve()

    async with scripted(script) as server, client_of(server, clock=clock, times=PATIENT) as gateway:
        async with asyncio.TaskGroup() as group:
            sent = group.create_task(lost_of(gateway.call("chat.send", {"room": "lobby", "text": "once"})))
            await until(lambda: gateway.state == "waiting")
            clock.ahead += 23 * 3600  # the machine sleeps
            await gateway.check()
        assert "too old to be sent again" in str(await sent)
        assert not (await sent).final


async def test_a_refusal_of_the_moment_is_no_answer_to_a_repeated_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BREATH_SECONDS", 0.01)

    async def script(visit: Visit) -> None:
        await visit.welcome()
        message = await visit.expect("chat.send")
        if visit.number == 1:
            visit.drop()
        for status in (42900, 50300):
            await visit.refuse(message, status, retryable=True, retry_after_ms=10)
            message = await visit.expect("chat.send")
            assert message["data"]["client_id"] == "mine"
        await visit.reply(message, {"duplicate": True})
        await visit.refuse(await visit.expect("chat.send"), 42900, retryable=True)
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        data = {"room": "lobby", "text": "once", "client_id": "mine"}
        assert await gateway.call("chat.send", data) == {"duplicate": True}
        # The first attempt is the caller's own matter.
        with pytest.raises(Refused, match="42900"):
            await gateway.call("chat.send", {"room": "lobby", "text": "new"})


async def lost_of(call: Any) -> Lost:
    with pytest.raises(Lost) as lost:
        await call
    return lost.value


def stored(data: dict[str, Any]) -> dict[str, Any]:
    place = {"id": "e.1", "epoch": "e", "offset": 1, "changed": 1, "sender": "alice"}
    return data | place | {"sent_at": "2026-11-20T23:20:08.804Z", "deleted": False}


async def test_a_call_without_a_connection_waits_for_one() -> None:
    async def script(visit: Visit) -> None:
        if visit.number in {2, 3}:
            visit.drop()
            return
        await visit.welcome()
        if visit.number == 1:
            await visit.reply(await visit.expect("echo"))
            visit.drop()
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        assert await gateway.call("echo", {"n": 0}) == {}
        await until(lambda: gateway.state != "open")
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
        await gateway.opened()
    assert len(server.visits) == 4


async def test_silence_of_two_heartbeats_is_checked_with_a_ping_and_ends_a_dead_connection() -> None:
    asked: list[int] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        while True:
            message = await visit.next()
            asked.append(visit.number)
            if visit.number > 1 or message["type"] != "ping":
                await visit.reply(message)

    times = Times(heartbeat=0.05, watch=0.02, ping=0.1, first_delay=0.01)
    async with scripted(script) as server, client_of(server, times=times) as gateway:
        await until(lambda: len(server.visits) == 2 and asked.count(2) >= 2)
        assert gateway.state == "open"
    assert asked.count(1) == 2  # one after a heartbeat, and the one that decides
    assert len(server.visits) == 2


async def test_a_check_ends_a_wait_unless_the_gateway_has_asked_for_it() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.expect("echo")
            visit.drop()
        await visit.reply(await visit.expect("echo"))
        await visit.bye(1012, "draining", "after_delay", after_ms=60_000)

    async with scripted(script) as server, client_of(server, times=PATIENT) as gateway:
        await lost_of(gateway.call("echo", {}))
        await until(lambda: gateway.state == "waiting")
        await gateway.check()
        await gateway.call("echo", {})
        await until(lambda: gateway.state == "waiting")
        await gateway.check()
        await asyncio.sleep(0.1)
        assert (gateway.state, len(server.visits)) == ("waiting", 2)


async def test_a_missing_answer_is_followed_by_a_ping_that_decides() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        while True:
            message = await visit.next()
            if message["type"] != "swallowed" and visit.number > 1:
                await visit.reply(message)

    async with scripted(script) as server, client_of(server, times=Times(ping=0.05, first_delay=0.01)) as gateway:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await gateway.call("swallowed", {})
        await until(lambda: len(server.visits) == 2)
        await gateway.opened()
        # The connection answers: a check changes nothing.
        await gateway.check()
        assert await gateway.call("echo", {}) == {}
    assert len(server.visits) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "expected a WebSocket at ws://127.0.0.1:{port}/ws/chat, got HTTP 404; check the host and the path"),
        (426, "got HTTP 426; check whether a proxy on the way passes on Upgrade and Connection"),
        (200, "got HTTP 200; check whether a proxy on the way passes on Upgrade and Connection"),
        (401, "got HTTP 401; check the token, and whether a proxy asks for a login of its own"),
        (502, "got HTTP 502; check whether the proxy in front reaches the gateway; gave up after 0.2 s"),
    ],
)
async def test_a_refused_upgrade_says_what_to_check(status: int, words: str) -> None:
    async with raw_server(answering(status, "<html>no</html>")) as port:
        lost = await lost_of(client_of(FakeServer(port), open_timeout=0.2).__aenter__())
    assert words.format(port=port) in str(lost)
    assert "token-1" not in str(lost)


async def test_a_gateway_that_refuses_with_http_is_understood() -> None:
    body = '{"status": 40300, "name": "forbidden", "message": "this origin is not allowed"}'
    async with raw_server(answering(403, body)) as port:
        lost = await lost_of(client_of(FakeServer(port)).__aenter__())
    assert (str(lost), lost.reconnect, lost.final) == ("this origin is not allowed", Reconnect.NEVER, True)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the answer was no HTTP; check the port, and wss:// or ws://"),
        (b"", "the answer was no HTTP"),
        (None, "does the gateway run there"),
    ],
)
async def test_a_server_of_another_kind_and_none_at_all_are_named(greeting: bytes | None, words: str) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting or b"")

    async with raw_server(greet) as port:
        there = FakeServer(free_port() if greeting is None else port)
        lost = await lost_of(client_of(there, open_timeout=0.2).__aenter__())
    assert words in str(lost)


async def test_a_redirect_is_named_and_not_followed_with_the_token() -> None:
    async with raw_server(answering(302, "", "Location: http://127.0.0.1:1/elsewhere\r\n")) as port:
        lost = await lost_of(client_of(FakeServer(port)).__aenter__())
    assert "use the address to which it leads: http://127.0.0.1:1/elsewhere" in str(lost)


async def test_a_wrong_certificate_ends_the_first_attempt_and_plain_text_is_named(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    async with scripted(answer, ssl=context) as server:
        lost = await lost_of(connect(server.url.replace("ws:", "wss:"), token="token-1").__aenter__())
    assert "does not hold: self-signed certificate" in str(lost)
    assert "pass ssl=" in str(lost)
    async with raw_server(answering_at_once) as port:
        lost = await lost_of(connect(f"wss://127.0.0.1:{port}", token="token-1", open_timeout=0.2).__aenter__())
    assert f"no TLS at wss://127.0.0.1:{port}/ws/chat" in str(lost)
    assert "check the port, and wss:// or ws://" in str(lost)


@pytest.mark.parametrize("proxy", ["secret", "socks5://user:secret@127.0.0.1:1", "http://user:secret@127.0.0.1:1"])
async def test_a_proxy_that_does_not_work_is_named_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WS_PROXY", proxy)
    lost = await lost_of(connect("ws://chat.invalid", token="t", open_timeout=0.2).__aenter__())
    assert "proxy" in str(lost)
    assert "secret" not in str(lost).replace("secret isn't", "")


class FakeServer(Scripted):
    """A port that no script serves."""

    def __init__(self, port: int) -> None:
        super().__init__(answer)
        self._port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"


async def answering_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def answering(status: int, body: str, header: str = "") -> Handle:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{header}\r\n"
        writer.write((head + body).encode())

    return serve


async def test_a_strange_answer_is_waited_out_once_there_was_a_gateway() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number == 1:
            await visit.reply(await visit.expect("echo"))
            visit.drop()
        await visit.serve()

    refusals = [404, 404]

    def refuse(connection: Any, request: Any) -> Any:
        if server.visits and refusals:
            return connection.respond(refusals.pop(), "maintenance")
        return None

    async with scripted(script, process_request=refuse) as server, client_of(server) as gateway:
        await gateway.call("echo", {})
        await until(lambda: len(server.visits) == 2 and not refusals)
        await gateway.opened()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://x", {}),
        ("ws://", {}),
        ("ws://user:pass@x", {}),
        ("ws://x:y", {}),
        ("ws://a..b", {}),
        ("ws://x", {"max_events": 0}),
        ("ws://x?token=secret", {}),
        ("ws://x", {"token": None}),
        ("ws://x", {"token": "two words"}),
        ("ws://x", {"token": "new\nline"}),
        ("ws://x", {"token": ""}),
    ],
)
def test_a_wrong_url_or_token_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="expected") as wrong:
        connect(url, **{"token": "t"} | options)
    assert "secret" not in str(wrong.value)


async def test_a_url_may_be_an_origin_a_prefix_or_the_whole_path() -> None:
    from gateway_client.address import address_of

    assert address_of("https://x.example").url == "wss://x.example/ws/chat"
    assert address_of("http://x/talk/").url == "ws://x/talk/ws/chat"
    assert address_of("ws://x/ws/chat?a=1", service="s p", rooms=True).url == "ws://x/ws/chat?a=1&service=s+p&rooms=1"
    assert address_of("ws://x/ws/chat?a=1").shown == "ws://x/ws/chat"
    async with scripted(answer) as server, client_of(server, service="other", rooms=True):
        assert server.visits[0].path == "/ws/chat?service=other&rooms=1"


async def test_leaving_the_block_ends_every_task_however_it_is_left() -> None:
    async with scripted(answer) as server:
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await using(server, asyncio.sleep(10))
        with pytest.raises(ZeroDivisionError):
            await using(server, raising())
        with pytest.raises(ExceptionGroup):
            await using(server, group_that_fails())
        entering = asyncio.create_task(client_of(server).__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        used = client_of(server)
        async with used:
            pass
        with pytest.raises(RuntimeError, match="one `async with`"):
            await used.__aenter__()
        await until(lambda: not [task for task in asyncio.all_tasks() - before if "gateway_client" in task.get_name()])


async def using(server: Scripted, work: Coroutine[Any, Any, None]) -> None:
    async with client_of(server) as gateway:
        async with gateway.stream("endless") as stream:
            assert [chunk async for chunk in stream] == []
        async with asyncio.timeout(0.2):
            await work


async def group_that_fails() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(10))
        group.create_task(raising())


async def raising() -> None:
    raise ZeroDivisionError


async def test_a_thousand_reconnects_leave_nothing_behind() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.reply(await visit.expect("echo"))
        visit.drop()

    async with scripted(script) as server:
        server.visits = visits = Forgetful()
        times = Times(first_delay=0, longest_delay=0)
        async with client_of(server, times=times) as gateway:
            kept = gateway.events("x")
            sizes = []
            for _ in range(4):
                for _ in range(250):
                    gateway.events(StateChanged)
                    while True:
                        try:
                            await gateway.call("echo", {})
                            break
                        except Lost:
                            continue
                await gateway.opened()
                gc.collect()
                mine = [task for task in asyncio.all_tasks() if task.get_name().startswith("gateway_client")]
                sizes.append((len(mine), sum(map(is_ours, gc.get_objects()))))
            assert max(tasks for tasks, _ in sizes) <= 4, sizes
            # One object for each reconnect would be 750 more.
            assert sizes[-1][1] <= sizes[0][1] + 50, sizes
            kept.close()
    assert visits.counted >= 1000


class Forgetful(list[Visit]):
    """Counts, and keeps nothing."""

    counted = 0

    def append(self, _: Visit) -> None:
        self.counted += 1


def is_ours(found: object) -> bool:
    return str(type(found).__module__).startswith("gateway_client")
