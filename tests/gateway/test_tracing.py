"""What a tracing system shows of a gateway, over real sockets, with OpenTelemetry's SDK, services and receivers."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from gateway.config.settings import load_settings
from gateway.core.logs import JsonFormatter, TextFormatter
from gateway.core.start_error import StartError
from gateway.core.tracing import open_tracing
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import table
from tests.support.client import App, ChatClient
from tests.support.receivers import Receiver, running_receiver
from tests.support.services import add_service
from tests.support.spans import Recorded, attributes, ids, parent, recording
from tests.support.upstreams import Conversation, Upstream, running_upstream
from tests.support.waiting import until
from tests.support.workers import worker

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
BAD = ["", "nonsense", 5, None, {}, f"ff{TRACEPARENT[2:]}", TRACEPARENT.upper(), f"{TRACEPARENT}\r\nx-evil: 1"]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """The spans of gateways that start in this test."""
    with recording(monkeypatch) as recorded:
        yield recorded


async def serve(client: Conversation) -> None:
    """Answer, fail, be slow or stream, as the type says."""
    while True:
        message = (await client.request()).json
        match message["type"].rpartition(".")[2]:
            case "fail":
                await client.answer({"error": "in the service"}, 500)
            case "refuse":
                await client.answer({"error": {"status": 60001, "name": "sold_out", "message": "none is left"}})
            case "hang":
                await asyncio.Event().wait()
            case _:
                await client.answer({"data": {"order": 1}})


@asynccontextmanager
async def gateway_with_services(own_gateway: OwnGateway, folder: Path, **options: Any) -> AsyncIterator["Parts"]:
    """A gateway with a service behind routes, a route for workers, and a hook."""
    async with running_upstream(serve) as service, running_receiver() as receiver:
        hook = {"url": receiver.url, "secret": receiver.secret, "types": ["message.stored"]}
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in hook.items())
        file = folder / "routes.toml"
        file.write_text(
            f"{table('orders.*', service.url)}{table('stock.ask', None)}\n[hooks.push]\n{lines}", encoding="utf-8"
        )
        async with App(own_gateway(routes=file, **options)) as app:
            yield Parts(app, service, receiver)


class Parts:
    """What a test talks to."""

    def __init__(self, app: App, service: Upstream, receiver: Receiver) -> None:
        self.app = app
        self.service = service
        self.receiver = receiver


async def ask(client: ChatClient, type: str, traceparent: object, **data: Any) -> Any:
    """Send a message with a `traceparent`, and return its answer."""
    await client.send({"type": type, "id": "t", "data": data, "traceparent": traceparent})
    return await client.until(id="t")


async def test_without_tracing_a_trace_passes_through_and_bad_values_are_ignored(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.in_room(alice, "lobby") as client:
        assert parts.app.gateway.state.tracing is None
        assert (await ask(client, "orders.make", TRACEPARENT))["data"] == {"order": 1}
        assert parts.service.requests[-1].headers["traceparent"] == TRACEPARENT
        for bad in BAD:
            assert (await ask(client, "orders.make", bad))["status"] == 20000, bad
            headers = parts.service.requests[-1].headers
            assert headers["traceparent"][3:35] == headers["webhook-id"].removeprefix("msg_")
            assert b"evil" not in parts.service.requests[-1].head
        await client.ask("orders.make")  # the trace of one message is not that of the next
        assert TRACE not in parts.service.requests[-1].headers["traceparent"]
        async with worker(parts.app.gateway, "stock.ask") as connected:
            await client.send({"type": "stock.ask", "id": "t", "data": {}, "traceparent": TRACEPARENT})
            frame = await connected.next()
            assert frame["traceparent"] == TRACEPARENT
            await connected.reply(frame["id"], data={})
            await client.until(id="t")
        assert (await ask(client, "chat.send", TRACEPARENT, room="lobby", text="hello"))["status"] == 20000
        [event] = await parts.receiver.expect(1)
        assert event.headers["traceparent"] == TRACEPARENT
        # Other keys are refused as ever, with a trace and without one.
        refused = {"type": "ping", "id": 9, "tracestate": "a=1", "traceparent": TRACEPARENT}
        await client.send(refused)
        assert (await client.until(id=9))["details"][0]["field"] == "tracestate"


async def test_over_http_a_trace_passes_through_with_its_state(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts:
        token = await parts.app.token(alice)
        given = {"Authorization": f"Bearer {token}", "traceparent": TRACEPARENT, "tracestate": "rojo=1"}
        await parts.app.http.post("/call/orders.make", headers=given, json={})
        headers = parts.service.requests[-1].headers
        assert (headers["traceparent"], headers["tracestate"]) == (TRACEPARENT, "rojo=1")
        await parts.app.http.post("/call/orders.make", headers=given | {"traceparent": "x"}, json={})
        assert "tracestate" not in parts.service.requests[-1].headers


async def test_a_message_has_one_span_with_its_type_and_status_and_a_link_to_the_handshake(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, spans: Recorded
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.connect(alice) as client:
        handshake = await spans.one("GET /ws/chat")
        assert handshake.kind is SpanKind.SERVER
        assert attributes(handshake)["http.response.status_code"] == 101
        assert "token" not in handshake.to_json()
        await client.ask("room.join", room="a-secret-room")
        message = await spans.one("room.join")
        assert (message.kind, message.parent, message.status.status_code) == (SpanKind.SERVER, None, StatusCode.UNSET)
        assert [f"{link.context.span_id:016x}" for link in message.links] == [ids(handshake)[1]]
        assert attributes(message) == {
            "rpc.system.name": "json-gateway",
            "rpc.method": "room.join",
            "rpc.response.status_code": "20000",
            "gateway.connection.id": client.welcome["connection"],
            "gateway.node.id": parts.app.gateway.state.bus.node,
        }
        await ask(client, "ping", TRACEPARENT)
        pinged = await spans.one("ping")
        assert (ids(pinged)[0], parent(pinged)) == (TRACE, SPAN)
        await client.refused("chat.send", room="a-secret-room")
        refused = await spans.one("chat.send")
        assert attributes(refused)["rpc.response.status_code"] == "42200"
        assert attributes(refused)["error.type"] == "validation_failed"
        assert refused.status.status_code is StatusCode.UNSET  # the client's mistake
        await client.refused("what.is.this.secret")
        assert attributes(await spans.one("unknown"))["rpc.response.status_code"] == "40002"
        for bad in BAD:
            spans.forget()
            assert (await ask(client, "ping", bad))["status"] == 20000
            assert (await spans.one("ping")).parent is None
        said = "a-secret-text"
        await client.ask("chat.send", room="a-secret-room", text=said)
        await parts.receiver.expect(1)
    for secret in (said, "secret", alice, "eyJ"):
        assert secret not in spans.words


async def test_a_call_of_a_service_is_a_span_below_its_message_and_the_service_gets_it(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, spans: Recorded
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.connect(alice) as client:
        await client.ask("orders.make")
        message, call = sorted(await spans.expect("orders.*", 2), key=lambda span: span.kind.value)
        assert (message.kind, call.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
        assert (ids(call)[0], parent(call)) == (ids(message)[0], ids(message)[1])
        assert parts.service.requests[-1].headers["traceparent"] == "00-{}-{}-01".format(*ids(call))
        assert attributes(call)["messaging.message.id"] == parts.service.requests[-1].headers["webhook-id"]
        assert attributes(call)["gateway.outcome"] == "reply"
        for name, status, outcome, is_fault in (
            ("orders.refuse", "60001", "error", False),
            ("orders.fail", "50200", "failed", True),
        ):
            spans.forget()
            await client.refused(name)
            message, call = sorted(await spans.expect("orders.*", 2), key=lambda span: span.kind.value)
            assert attributes(message)["rpc.response.status_code"] == status
            assert attributes(call)["gateway.outcome"] == outcome
            expected = StatusCode.ERROR if is_fault else StatusCode.UNSET
            assert (message.status.status_code, call.status.status_code) == (expected, expected)
            assert "in the service" not in spans.words
            assert "none is left" not in spans.words
        spans.forget()
        asked = len(parts.service.requests)
        await client.send({"type": "orders.hang", "id": 7, "stream": True})
        await until(lambda: len(parts.service.requests) > asked)
        await client.send({"type": "cancel", "id": 8, "data": {"id": 7}})
        assert (await client.next())["status"] == 49900
        message, call = sorted(await spans.expect("orders.*", 2), key=lambda span: span.kind.value)
        assert attributes(message)["rpc.response.status_code"] == "49900"
        assert attributes(message)["gateway.stream"] is True
        assert attributes(call)["gateway.outcome"] == "cancelled"
        assert attributes(await spans.one("cancel"))["rpc.response.status_code"] == "20000"
        spans.forget()
        await client.send({"type": "orders.hang", "id": 7})
        await client.send({"type": "cancel", "id": 8, "data": {"id": 7}})  # before its task has begun
        await client.until(id=7, status=49900)
        await until(lambda: {"49900"} <= {attributes(span).get("rpc.response.status_code") for span in spans.all})
        async with worker(parts.app.gateway, "stock.ask") as connected:
            number = await client.start("stock.ask")
            frame = await connected.next()
            await connected.reply(frame["id"], data={})
            await client.until(id=number)
            _, call = sorted(await spans.expect("stock.ask", 2), key=lambda span: span.kind.value)
            assert frame["traceparent"] == "00-{}-{}-01".format(*ids(call))
        spans.forget()
        asked = len(parts.service.requests)
        await client.start("orders.hang")
        await until(lambda: len(parts.service.requests) > asked)
    message, call = sorted(await spans.expect("orders.*", 2), key=lambda span: span.kind.value)
    assert attributes(message)["error.type"] == "gone"
    assert "rpc.response.status_code" not in attributes(message)


async def test_one_of_too_many_messages_in_progress_has_a_span_too(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, spans: Recorded
) -> None:
    options = {"max_calls_per_connection": 1}
    async with gateway_with_services(own_gateway, tmp_path, **options) as parts, parts.app.connect(alice) as client:
        await client.start("orders.hang")
        assert (await client.refused("orders.make"))["status"] == 42900
        assert attributes(await spans.one("orders.*"))["rpc.response.status_code"] == "42900"


async def test_an_event_for_a_hook_has_a_span_with_a_link_to_its_message(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, spans: Recorded
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.in_room(alice, "lobby") as client:
        parts.receiver.answer = lambda event: 500 if len(parts.receiver.got) == 1 else 204
        await client.ask("chat.send", room="lobby", text="hello")
        message = await spans.one("chat.send")
        [failed] = await spans.expect("push message.stored")
        assert failed.status.status_code is StatusCode.ERROR
        assert attributes(failed)["http.response.status_code"] == 500
        parts.app.gateway.clock.ahead += 60
        failed, delivered = await spans.expect("push message.stored", 2)
        for span in (failed, delivered):
            assert (span.kind, span.parent) == (SpanKind.PRODUCER, None)
            assert [ids(message)[1]] == [f"{link.context.span_id:016x}" for link in span.links]
            assert attributes(span)["messaging.message.id"] == parts.receiver.got[0].id
        sent = [event.headers["traceparent"] for event in parts.receiver.got]
        assert sent == ["00-{}-{}-01".format(*ids(span)) for span in (failed, delivered)]


async def test_requests_have_spans_that_go_on_with_the_callers_trace(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, spans: Recorded
) -> None:
    async with gateway_with_services(own_gateway, tmp_path) as parts:
        http, token = parts.app.http, await parts.app.token(alice)
        key = await add_service(parts.app.gateway, "shop", "api:publish", "api:rooms")
        given = {"Authorization": f"Bearer {token}", "traceparent": TRACEPARENT, "tracestate": "rojo=1"}
        assert (await http.post("/call/orders.make", headers=given, json={})).status_code == 200
        request = await spans.one("POST /call/{type}")
        message, call = sorted(await spans.expect("orders.*", 2), key=lambda span: span.kind.value)
        assert [ids(span)[0] for span in (request, message, call)] == [TRACE] * 3
        assert [parent(span) for span in (request, message, call)] == [SPAN, ids(request)[1], ids(message)[1]]
        assert message.kind is SpanKind.INTERNAL
        assert parts.service.requests[-1].headers["tracestate"] == "rojo=1"
        given |= {"Authorization": f"Bearer {key}"}
        room = {"room": "a-secret-room"}
        assert (await http.post("/api/rooms", headers=given, json=room)).is_success
        made = await spans.one("POST /api/rooms")
        assert (made.kind, ids(made)[0]) == (SpanKind.SERVER, TRACE)
        await http.get("/api/rooms/a-secret-room", headers=given)
        [looked] = [span for span in spans.all if span.name.startswith("GET /api/rooms/{")]
        assert attributes(looked)["http.response.status_code"] == 200
        await http.post("/hook/gwk_a-secret-key", json={"text": "a"})
        hooked = await spans.one("POST /hook/{key}")
        assert attributes(hooked)["http.response.status_code"] == 404
        await http.get("/a-secret-path?token=eyJsecret")
        await http.request("BREW", "/healthz2")
        for probe in ("/healthz", "/readyz", "/metrics"):
            await http.get(probe)
        assert not [span for span in spans.all if "healthz" in span.name or "metrics" in span.name]
    for secret in ("secret", alice, key):
        assert secret not in spans.words


async def test_users_and_rooms_are_in_spans_only_if_a_setting_says_so(
    own_gateway: OwnGateway, alice: str, room: str, spans: Recorded
) -> None:
    async with App(own_gateway(tracing_details="user,room")) as app, app.in_room(alice, room) as client:
        found = attributes(await spans.one("room.join"))
        assert (found["user.name"], found["gateway.room"]) == (alice, room)
        await client.send({"type": "room.join", "id": 1, "data": {"room": "x" * 60_000}})
        await client.until(id=1)
        _, second = await spans.expect("room.join", 2)
        assert len(attributes(second)["gateway.room"]) == 64


@pytest.mark.parametrize("value", ["email", "user;room", "USER"])
def test_a_wrong_detail_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GATEWAY_TRACING_DETAILS", value)
    with pytest.raises(StartError, match="GATEWAY_TRACING_DETAILS"):
        load_settings()


async def test_a_trace_that_is_not_sampled_goes_on_as_not_sampled(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording(monkeypatch, ALWAYS_OFF) as spans:
        async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.connect(alice) as client:
            await client.ask("orders.make")
            assert parts.service.requests[-1].headers["traceparent"].endswith("-00")
        assert spans.all == ()


async def test_the_log_lines_of_a_message_have_the_id_of_its_trace(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.extend([JsonFormatter().format(record), TextFormatter().format(record)])

    logger, keep = logging.getLogger("gateway.upstream.calls"), Keep()
    logger.addHandler(keep)
    try:
        async with gateway_with_services(own_gateway, tmp_path) as parts, parts.app.connect(alice) as client:
            assert (await ask(client, "orders.fail", TRACEPARENT))["status"] == 50200
    finally:
        logger.removeHandler(keep)
    assert json.loads(lines[0])["trace_id"] == TRACE
    assert f" trace={TRACE} " in lines[1]


def test_tracing_is_off_unless_the_process_has_a_provider_or_a_setting_asks(
    spans: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_tracing("auto") is not None
    assert open_tracing("off") is None
    monkeypatch.undo()
    assert open_tracing("auto") is None
    assert open_tracing("on") is not None
    assert "opentelemetry-instrument gateway serve" in caplog.text


def test_without_the_package_tracing_cannot_be_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gateway.core.opentelemetry", None)
    with pytest.raises(StartError, match=r"pip install 'json-gateway\[otel\]'"):
        open_tracing("on")


async def test_a_gateway_without_tracing_has_not_even_loaded_it(own_gateway: OwnGateway) -> None:
    code = (
        "import sys, gateway.app; from gateway.core.tracing import open_tracing;"
        "assert open_tracing('auto') is None; assert 'gateway.core.opentelemetry' not in sys.modules"
    )
    process = await asyncio.create_subprocess_exec(__import__("sys").executable, "-c", code)
    assert await asyncio.wait_for(process.wait(), 60) == 0
