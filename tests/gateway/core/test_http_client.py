"""Requests to services: what a confused or bad one can do to them, and to the next request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET, EAI_NONAME, SOCK_STREAM, gaierror
from typing import Any

import pytest
from cryptography.x509 import IPAddress

from gateway.core import http_client
from gateway.core.http_client import Answer, HttpClient, NotConnected, RequestFailed, RequestTimedOut
from tests.support.certificate import certificate
from tests.support.upstreams import (
    Behaviour,
    Conversation,
    Upstream,
    answering,
    answering_before_reading,
    closing_after_each_answer,
    dripping,
    endless,
    flooding_headers,
    good,
    hanging,
    running_upstream,
    truncated,
    twice,
    writing,
)

pytestmark = pytest.mark.server

MESSAGE = b'{"type": "orders.create", "user": "alice", "data": {}}'
Ask = Callable[[], "asyncio.Future[Answer]"]


@asynccontextmanager
async def asking(behave: Behaviour, *, max_connections: int = 10) -> AsyncIterator[tuple[Upstream, HttpClient]]:
    async with running_upstream(behave) as upstream:
        client = HttpClient(upstream.url, max_connections=max_connections)
        yield upstream, client
        await client.close()


async def ask(client: HttpClient, body: bytes = MESSAGE, *, seconds: float = 10, max_bytes: int = 1000) -> Answer:
    return await client.request("POST", headers={"x-one": "1"}, body=body, seconds=seconds, max_bytes=max_bytes)


async def test_a_request_says_what_it_takes_and_its_answer_comes_back_whole() -> None:
    async with asking(good) as (upstream, client):
        answer = await ask(client)
        assert (answer.status, b"alice" in answer.body) == (200, True)
        head = upstream.requests[0].head.decode().split("\r\n")
        assert head[0] == "POST /orders HTTP/1.1"
        assert set(head[1:-2]) == {
            f"host: {upstream.url.split('/')[2]}",
            "user-agent: json-gateway",
            "accept: application/json",
            "accept-encoding: identity",
            "x-one: 1",
            f"content-length: {len(MESSAGE)}",
        }


async def test_requests_one_after_the_other_share_a_connection_and_requests_at_once_do_not() -> None:
    async with asking(good) as (upstream, client):
        for _ in range(3):
            await ask(client)
        assert upstream.connections == 1
        await asyncio.gather(*(ask(client) for _ in range(5)))
        assert 2 <= upstream.connections <= 5


async def test_no_cookie_of_an_answer_goes_out_with_the_next_request() -> None:
    async with asking(answering({"data": {}}, set_cookie="user=alice")) as (upstream, client):
        await ask(client)
        await ask(client)
        assert all("cookie" not in request.headers for request in upstream.requests)


async def test_a_second_answer_never_answers_the_next_request() -> None:
    async with asking(twice("mine", "another user's")) as (upstream, client):
        assert (await ask(client)).body == b'{"data": "mine"}'
        assert (await ask(client)).body == b'{"data": "mine"}'
        assert upstream.connections == 2


async def test_bytes_that_come_while_a_connection_is_idle_end_it() -> None:
    async def answer_late_once_more(talk: Conversation) -> None:
        await talk.request()
        await talk.answer({"data": "mine"})
        await sent.wait()
        await talk.answer({"data": "another user's"})
        late.set()
        await talk.request()

    sent, late = asyncio.Event(), asyncio.Event()
    async with asking(answer_late_once_more) as (upstream, client):
        await ask(client)
        sent.set()
        await late.wait()
        upstream.behave = good
        assert b"alice" in (await ask(client)).body
        assert upstream.connections == 2


async def test_a_service_that_closes_after_each_answer_costs_no_request() -> None:
    async with asking(closing_after_each_answer) as (upstream, client):
        for _ in range(20):
            await ask(client)
        assert upstream.connections == 20


async def test_an_answer_before_the_body_was_read_counts() -> None:
    async with asking(answering_before_reading) as (_, client):
        assert b"early" in (await ask(client, b"x" * 1_000_000)).body


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", b"ab"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["chunks", "a continue before it", "no content"],
)
async def test_every_form_of_an_answer_is_read(data: bytes, body: bytes) -> None:
    async with asking(writing(data)) as (_, client):
        assert (await ask(client)).body == body


async def test_an_answer_may_end_with_its_connection() -> None:
    async def close_at_the_end(talk: Conversation) -> None:
        await talk.request()
        await talk.write(b"HTTP/1.0 200 OK\r\n\r\nabc")

    async with asking(close_at_the_end) as (_, client):
        assert (await ask(client)).body == b"abc"


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (endless, "expected at most 1000 bytes, got more"),
        (flooding_headers, "expected at most 1000 bytes, got more|no answer: RemoteProtocolError"),
        (truncated, "no answer: RemoteProtocolError"),
        (answering(b"x" * 1001), "expected at most 1000 bytes, got more"),
        (answering(b"x", content_encoding="gzip"), "expected a plain body, got a compressed one"),
        (writing(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "no answer: RemoteProtocolError"),
    ],
    ids=["an endless body", "endless headers", "a short body", "a long body", "a compressed body", "another protocol"],
)
async def test_a_bad_answer_fails_its_request_and_no_later_one(behave: Behaviour, reason: str) -> None:
    async with asking(behave) as (upstream, client):
        with pytest.raises(RequestFailed) as failed:
            await ask(client)
        assert str(failed.value) in reason.split("|")
        upstream.behave = good
        assert (await ask(client)).status == 200


@pytest.mark.parametrize("behave", [hanging, dripping])
async def test_the_time_is_for_the_whole_answer(behave: Behaviour) -> None:
    async with asking(behave) as (_, client):
        with pytest.raises(RequestTimedOut, match=r"no answer within 0\.1 seconds"):
            await ask(client, seconds=0.1)


async def test_a_request_waits_for_a_free_connection_within_its_time() -> None:
    async with asking(hanging, max_connections=1) as (upstream, client):
        first = asyncio.create_task(ask(client))
        with pytest.raises(RequestTimedOut):
            await ask(client, seconds=0.1)
        upstream.behave = good
        first.cancel()
        assert (await ask(client)).status == 200


async def test_an_address_without_a_service_is_a_failure() -> None:
    async with running_upstream(good) as upstream:
        pass
    with pytest.raises(NotConnected, match="no answer: ConnectionRefusedError"):
        await ask(HttpClient(upstream.url, max_connections=1))


async def test_a_host_may_be_a_name() -> None:
    async with running_upstream(good) as upstream:
        client = HttpClient(upstream.url.replace("127.0.0.1", "localhost"), max_connections=1)
        assert (await ask(client)).status == 200
        await client.close()


def test_a_name_server_that_hangs_has_one_question_for_each_host() -> None:
    names = NamesThatHang()

    async def ask_two_hosts() -> None:
        hosts = [HttpClient(f"http://{name}.example/", max_connections=50) for name in ("one", "two")]
        requests = [ask(host, seconds=0.1) for host in hosts for _ in range(50)]
        errors = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(error) for error in errors} == {RequestTimedOut}
        assert names.asked == ["one.example", "two.example"]
        names.answer.set()
        async with running_upstream(good) as upstream:
            found = HttpClient(upstream.url.replace("127.0.0.1", "three.example"), max_connections=1)
            assert (await ask(found)).status == 200
            await found.close()

    with asyncio.Runner(loop_factory=lambda: names) as runner:
        runner.run(ask_two_hosts())


async def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise gaierror(EAI_NONAME, "not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    with pytest.raises(NotConnected, match=r"^no address for the host one\.example$"):
        await ask(HttpClient("https://one.example/", max_connections=1))


class NamesThatHang(asyncio.SelectorEventLoop):
    """A loop whose name server answers nothing, until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.answer = asyncio.Event()

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        self.asked.append(host)
        await self.answer.wait()
        # The first address has no service.
        return [(AF_INET, SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]


async def test_a_certificate_must_be_of_an_authority_that_the_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, tls = certificate(tmp_path, IPAddress(IPv4Address("127.0.0.1")))
    http_client._authorities.cache_clear()
    async with running_upstream(good, tls) as upstream:
        with pytest.raises(NotConnected, match="no answer: SSLCertVerificationError"):
            await ask(HttpClient(upstream.url, max_connections=1))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        http_client._authorities.cache_clear()
        trusting = HttpClient(upstream.url, max_connections=1)
        assert (await ask(trusting)).status == 200
        assert (await ask(trusting)).status == 200
        await trusting.close()
    http_client._authorities.cache_clear()


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def streaming(*pieces: bytes, gate: asyncio.Event | None = None) -> Behaviour:
    """Write each piece as a chunk of its own; after the first one, wait for the gate."""

    async def behave(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.write(CHUNKED)
            for number, piece in enumerate(pieces):
                if number and gate is not None:
                    await gate.wait()
                await talk.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await talk.write(b"0\r\n\r\n")

    return behave


def stream(client: HttpClient, *, seconds: float = 10) -> Any:
    return client.stream("POST", headers={}, body=MESSAGE, seconds=seconds)


async def test_the_parts_of_a_stream_come_as_they_are_written_and_its_connection_is_used_again() -> None:
    gate = asyncio.Event()
    async with asking(streaming(b"one", b"two", gate=gate)) as (upstream, client):
        for _ in range(2):
            async with stream(client) as answer:
                assert (answer.status, answer.content_type) == (200, "text/event-stream")
                assert await answer.read(10) == b"one"
                gate.set()
                assert await answer.read(10) == b"two"
                assert await answer.read(10) == b""
            gate.clear()
        assert upstream.connections == 1


async def test_a_stream_has_a_time_for_its_head_and_for_each_silence() -> None:
    async with asking(hanging) as (upstream, client):
        with pytest.raises(RequestTimedOut):
            async with stream(client, seconds=0.05):
                raise AssertionError("there is no head")
        upstream.behave = streaming(b"one", b"two", gate=asyncio.Event())
        async with stream(client) as answer:
            await answer.read(10)
            with pytest.raises(RequestTimedOut, match=r"no answer within 0\.05 seconds"):
                await answer.read(0.05)


async def test_a_stream_that_is_left_in_the_middle_cuts_its_connection_and_frees_its_place() -> None:
    gate = asyncio.Event()
    async with asking(streaming(b"one", b"two", gate=gate), max_connections=1) as (upstream, client):
        async with stream(client) as answer:
            await answer.read(10)
        with pytest.raises(ZeroDivisionError):
            async with stream(client):
                raise ZeroDivisionError
        upstream.behave = good
        assert (await ask(client)).status == 200
        assert upstream.connections == 3
        assert len(upstream.requests) == 3


async def read_to_the_end(client: HttpClient) -> None:
    async with stream(client) as answer:
        while await answer.read(10):
            pass


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (truncated, "no answer: RemoteProtocolError"),
        (writing(CHUNKED + b"zz\r\n"), "no answer: RemoteProtocolError"),
        (writing(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000), "expected at most 16384 bytes, got more"),
    ],
    ids=["a short body", "a bad chunk", "no head"],
)
async def test_a_broken_stream_fails(behave: Behaviour, reason: str) -> None:
    async with asking(behave) as (_, client):
        with pytest.raises(RequestFailed) as failed:
            await read_to_the_end(client)
        assert str(failed.value) == reason


async def test_what_is_not_read_waits_at_the_service() -> None:
    written = 0

    async def flood(talk: Conversation) -> None:
        nonlocal written
        await talk.request()
        await talk.write(CHUNKED)
        while True:
            await talk.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            written += 0x10000

    async with asking(flood) as (_, client):
        async with stream(client) as answer:
            await answer.read(10)
            seen = -1
            while seen != written:  # until the service's own writes wait
                seen = written
                await asyncio.sleep(0.1)
            assert len(answer._connection._body) < 1_000_000
            for _ in range(100):
                assert await answer.read(10)
            assert written > seen
