"""A message through a route: what goes out, what comes back, and what the route allows."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.upstream.calls import LINES_A_MINUTE
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Empty
from schemas.messages.upstream import UpstreamReply
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import reload, routing, table
from tests.support.child import free_port
from tests.support.metrics import metrics_of
from tests.support.upstreams import SECRET, Conversation, answering, good, hanging, resetting, running_upstream
from tests.support.waiting import until

NOT_ASKED, MAY_BE_DONE = "it was not asked, try again", "it may have done the work or not"


async def test_a_message_goes_out_signed_and_its_reply_comes_back(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            reply = await client.ask("orders.create", sku="Ä\u2028", count=[1, None, 1.5])
            assert reply == {"type": "orders.create", "user": alice, "got": {"sku": "Ä\u2028", "count": [1, None, 1.5]}}
            request = service.requests[0]
            assert request.json == {
                "type": "orders.create",
                "id": 1,
                "data": {"sku": "Ä\u2028", "count": [1, None, 1.5]},
                "user": alice,
                "scopes": ["chat:read", "chat:write", "rooms:manage"],
                "claims": {},
                "connection": client.welcome["connection"],
            }
            Webhook(SECRET).verify(request.body, request.headers)
            assert request.head.startswith(b"POST /orders HTTP/1.1\r\n")
            trace, message_id = request.headers["traceparent"].split("-"), request.headers["webhook-id"]
            assert (trace[0], "msg_" + trace[1], len(trace[2]), trace[3]) == ("00", message_id, 16, "01")
            await client.ask("orders.items.add")
            assert service.requests[1].headers["webhook-id"] != message_id


async def test_a_stale_or_changed_request_does_not_verify(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            for ahead in (-600, 600):
                app.gateway.clock.ahead = ahead
                await client.ask("orders.create")
                with pytest.raises(WebhookVerificationError):
                    Webhook(SECRET).verify(service.requests[-1].body, service.requests[-1].headers)
            app.gateway.clock.ahead = 0
            await client.ask("orders.create")
            fresh = service.requests[-1]
            Webhook(SECRET).verify(fresh.body, fresh.headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(fresh.body.replace(b"create", b"delete"), fresh.headers)


async def test_nothing_that_a_client_chose_is_in_a_header(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            ids: list[Any] = ["x\r\nx-evil: 1", "é\n", '"', 2**63 - 1, -1]
            for id in ids:
                await client.send({"type": "orders.a\r\nx-evil: 1", "id": id, "data": {"a\r\nx-evil": "1"}})
                assert (await client.next())["id"] == id
                assert service.requests[-1].json["id"] == id
                assert service.requests[-1].json["type"] == "orders.a\r\nx-evil: 1"
            expected = {
                "host",
                "user-agent",
                "accept",
                "accept-encoding",
                "content-type",
                "content-length",
                "traceparent",
                "webhook-id",
                "webhook-timestamp",
                "webhook-signature",
            }
            assert all(set(request.headers) == expected for request in service.requests)
            assert all(b"evil" not in request.head for request in service.requests)
            await client.send({"type": "orders." + "x" * 60, "id": 1})
            await client.expect("error", status=42200)


async def test_a_declared_error_is_the_answer(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    errors: list[tuple[int, str, str, bool]] = [
        (40900, "conflict", "sold out <b>", False),
        (40400, "not_found", "no such order", False),
        (42900, "rate_limited", "later", True),
        (60001, "sold_out", "none left", False),
    ]
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            for status, name, message, retryable in errors:
                await service.become(answering({"error": {"status": status, "name": name, "message": message}}))
                error = await client.refused("orders.create")
                assert error == {
                    "type": "error",
                    "id": error["id"],
                    "status": status,
                    "name": name,
                    "message": message,
                    "retryable": retryable,
                }


async def test_a_message_without_an_id_gets_no_reply(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            await client.send({"type": "orders.create"})
            await until(lambda: service.requests)
            assert service.requests[0].json["id"] is None
            await client.expect_nothing()
            await service.become(resetting)
            await client.send({"type": "orders.create"})
            await client.expect("error", id=None, status=50200)


async def test_the_connection_goes_on_while_a_service_takes_its_time(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, room: str
) -> None:
    async with (
        running_upstream(hanging) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
        app.in_room(alice, room) as client,
    ):
        await client.start("orders.create")
        await until(lambda: service.requests)
        await client.say(room, "hello")
        await client.ask("echo", data={})


async def test_the_scope_of_a_route_is_needed(own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str) -> None:
    async with running_upstream(good) as service:
        route = table("orders.*", service.url, scope="orders:write")
        async with routing(own_gateway, tmp_path, route, scopes=["orders:write"]) as app:
            async with app.connect(alice) as client:
                error = await client.refused("orders.create")
                assert (error["status"], "orders:write" in error["message"]) == (40300, True)
            assert service.requests == []
            async with app.connect_with(await app.gateway.token(bob, "orders:write")) as client:
                await client.ask("orders.create")


async def test_only_the_claims_of_the_list_go_out(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(good) as service:
        tables = table("orders.*", service.url, claims=["iss", "nothing"]), table("stock.*", service.url)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            await client.ask("orders.create")
            await client.ask("stock.list")
            orders, stock = (request.json["claims"] for request in service.requests)
            assert set(orders) == {"iss"}
            assert stock == {}


async def test_data_and_reply_must_fit_the_schemas(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    number = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    got = {"type": "object", "required": ["type"], "properties": {"user": {"const": "nobody-else"}}}
    async with running_upstream(good) as service:
        tables = table("orders.*", service.url, data=number), table("stock.*", service.url, reply=got)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            error = await client.refused("orders.create", count="secret-text")
            assert (error["status"], error["details"][0]["field"]) == (42200, "data.count")
            assert "secret-text" not in json.dumps(error)
            assert service.requests == []
            assert (await client.ask("orders.create", count=1))["got"] == {"count": 1}
            assert (await client.refused("stock.list", x="secret-text"))["status"] == 50200
            assert "fits the route's schema; wrong: `data.user`" in caplog.text
            assert "secret-text" not in caplog.text


async def test_a_client_cannot_fill_the_log_with_failures(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    def lines(route: str) -> list[str]:
        return [text for record in caplog.records if f"route {route}: " in (text := record.getMessage())]

    tables = table("orders.*", None), table("stock.*", None)
    async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
        for _ in range(LINES_A_MINUTE + 5):
            await client.refused("orders.create")
        await client.refused("stock.list")
        assert len(lines("orders.*")) == LINES_A_MINUTE
        assert len(set(lines("orders.*"))) == LINES_A_MINUTE  # each with the id of its message
        assert len(lines("stock.*")) == 1
        app.gateway.clock.ahead += 61
        caplog.clear()
        await client.refused("orders.create")
        left_out, again = lines("orders.*")
        assert left_out.startswith("left out 5 more lines like 'route orders.*: ")
        assert again.endswith("no worker serves this route now")


@pytest.mark.parametrize("data", [[], "text", 5, True])
async def test_data_must_be_an_object(own_gateway: OwnGateway, tmp_path: Path, alice: str, data: Any) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            await client.send({"type": "orders.create", "id": 1, "data": data})
            await client.expect("error", status=42200)
            assert service.requests == []


async def test_the_rate_counts_for_each_user_by_itself(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with running_upstream(good) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, rate=2)) as app:
            app.gateway.clock.stop()
            async with app.connect(alice) as client, app.connect(alice) as again, app.connect(bob) as other:
                await client.ask("orders.create")
                await again.ask("orders.create")
                error = await client.refused("orders.create")
                assert (error["status"], error["retry_after_ms"]) == (42900, 501)
                await other.ask("orders.create")
                await client.ask("ping")
                app.gateway.clock.ahead += 0.6
                await client.ask("orders.create")


async def test_a_full_route_refuses_and_other_routes_go_on(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(hanging) as slow, running_upstream(good) as quick:
        tables = table("orders.*", slow.url, parallel=2), table("stock.*", quick.url)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            for _ in range(2):
                await client.start("orders.create")
            await until(lambda: len(slow.requests) == 2)
            error = await client.refused("orders.create")
            assert (error["status"], error["retry_after_ms"]) == (42900, 1000)
            await client.ask("stock.list")
            metrics = await metrics_of(app)
            assert metrics['gateway_upstream_calls_total{outcome="busy",route="orders.*"}'] == 1
            assert metrics['gateway_upstream_waiting{route="orders.*"}'] == 2
            assert metrics['gateway_messages_total{type="upstream"}'] == 4


async def test_the_ninth_call_of_a_connection_is_refused(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with (
        running_upstream(hanging) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
        app.connect(alice) as client,
    ):
        for _ in range(8):
            await client.start("orders.create")
        assert (await client.refused("orders.create"))["status"] == 42900
        await client.ask("ping")


async def test_a_user_takes_no_more_than_a_quarter_of_the_places(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with (
        running_upstream(hanging) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
        app.connect(bob) as other,
    ):
        async with app.connect(alice) as first, app.connect(alice) as second, app.connect(alice) as third:
            for client in (first, second):
                for _ in range(8):
                    await client.start("orders.create")
            await until(lambda: len(service.requests) == 16)
            error = await third.refused("orders.create")
            assert (error["status"], error["retry_after_ms"]) == (42900, 1000)
            assert "of this user" in error["message"]
            await other.start("orders.create")
            await until(lambda: len(service.requests) == 17)
        # Its connections have ended, and their messages with them.
        async with app.connect(alice) as client:
            await until(lambda: app.gateway.state.upstreams.figures["orders.*"].in_progress == 1)
            await client.start("orders.create")
            await until(lambda: len(service.requests) == 18)


async def flaky(client: Conversation, seen: list[str]) -> None:
    while True:
        request = await client.request()
        seen.append(request.headers["webhook-id"])
        if len(seen) < 3:
            client.reset()
            return
        await client.answer({"data": {"tries": len(seen)}})


@pytest.mark.parametrize("idempotent", [True, False])
async def test_only_an_idempotent_message_goes_out_again_with_the_same_id(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, idempotent: bool
) -> None:
    seen: list[str] = []
    async with running_upstream(lambda client: flaky(client, seen)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, idempotent=idempotent)) as app:
            async with app.connect(alice) as client:
                if idempotent:
                    assert await client.ask("orders.create") == {"tries": 3}
                    assert len(set(seen)) == 1
                    traces = {request.headers["traceparent"] for request in service.requests}
                    assert len(traces) == 3
                    assert (await metrics_of(app))['gateway_upstream_retries_total{route="orders.*"}'] == 2
                else:
                    assert (await client.refused("orders.create"))["status"] == 50200
                    assert len(seen) == 1


async def test_retries_end_with_the_time_of_the_message(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(resetting) as service:
        route = table("orders.*", service.url, idempotent=True, timeout_seconds=0.05)
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            assert (await client.refused("orders.create"))["status"] in (50200, 50400)
            assert len(service.requests) < 3


@pytest.mark.parametrize("idempotent", [True, False])
async def test_the_sender_learns_that_the_service_got_nothing(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, idempotent: bool
) -> None:
    async with running_upstream(good) as gone:
        pass
    tables = [table("stock.*", None), table("orders.*", gone.url, idempotent=idempotent)]
    async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
        for type in ("orders.create", "stock.list"):
            error = await client.refused(type)
            assert (error["status"], error["retryable"]) == (50200, True)
            assert NOT_ASKED in error["message"]


async def test_a_service_that_dies_after_the_first_attempt_may_have_done_the_work(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with AsyncExitStack() as running:
        service = await running.enter_async_context(running_upstream(resetting))
        route = table("orders.*", service.url, idempotent=True)
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            sent = await client.start("orders.create")
            await until(lambda: service.requests)
            await running.aclose()
            error = await client.expect("error", id=sent)
            assert error["status"] == 50200
            assert MAY_BE_DONE in error["message"]


async def test_the_breaker_opens_refuses_at_once_and_closes_after_a_good_probe(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with running_upstream(resetting) as service, running_upstream(good) as other:
        tables = table("orders.*", service.url), table("stock.*", other.url)
        async with (
            routing(own_gateway, tmp_path, *tables) as app,
            app.connect(alice) as client,
            app.connect(bob) as another,
        ):
            app.gateway.clock.stop()
            for sender in (client, client, client, client, another):
                failed = await sender.refused("orders.create")
                assert "retry_after_ms" not in failed
                assert MAY_BE_DONE in failed["message"]
            error = await client.refused("orders.create")
            assert NOT_ASKED in error["message"]
            assert (error["status"], error["retry_after_ms"]) == (50200, 1001)
            assert len(service.requests) == 5
            await client.ask("stock.list")
            readiness = await app.http.get("/readyz")
            assert (readiness.status_code, readiness.json()["upstreams"]) == (200, "degraded")
            assert readiness.json()["status"] == "degraded"
            assert (await metrics_of(app))['gateway_upstream_breaker{route="orders.*"}'] == 2
            await service.become(good)
            app.gateway.clock.ahead += 1
            await client.ask("orders.create")
            await client.ask("orders.create")
            assert (await app.http.get("/readyz")).json()["upstreams"] == "up"
            metrics = await metrics_of(app)
            for outcome, count in {"failed": 5, "open": 1, "reply": 2}.items():
                assert metrics[f'gateway_upstream_calls_total{{outcome="{outcome}",route="orders.*"}}'] == count
            assert metrics['gateway_upstream_seconds_count{route="orders.*"}'] == 7


async def test_one_user_whose_messages_fail_takes_no_route_from_the_others(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with running_upstream(resetting) as service:
        async with (
            routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
            app.connect(alice) as client,
            app.connect(bob) as another,
        ):
            for _ in range(40):
                assert MAY_BE_DONE in (await client.refused("orders.create"))["message"]
            await service.become(good)
            await another.ask("orders.create")


async def test_a_service_that_cannot_be_reached_is_no_user_s_fault(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    away = table("orders.*", f"http://127.0.0.1:{free_port()}/")
    async with routing(own_gateway, tmp_path, away) as app, app.connect(alice) as client:
        app.gateway.clock.stop()
        for _ in range(5):
            assert "retry_after_ms" not in await client.refused("orders.create")
        assert (await client.refused("orders.create"))["retry_after_ms"] == 1001


async def test_declared_errors_and_cancelled_calls_do_not_open_the_breaker(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    refusing = answering({"error": {"status": 40900, "name": "conflict", "message": "no"}})
    async with running_upstream(refusing) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
            async with app.connect(alice) as client:
                for _ in range(10):
                    assert (await client.refused("orders.create"))["status"] == 40900
            await service.become(hanging)
            service.requests.clear()
            async with app.connect(alice) as client:
                for _ in range(8):
                    await client.start("orders.create")
                await until(lambda: len(service.requests) == 8)
            cancelled = 'gateway_upstream_calls_total{outcome="cancelled",route="orders.*"}'

            async def all_are_cancelled() -> bool:
                return (await metrics_of(app)).get(cancelled) == 8

            await until(all_are_cancelled)
            await service.become(good)
            async with app.connect(alice) as client:
                await client.ask("orders.create")


async def test_a_changed_file_changes_routes_and_calls_that_are_under_way_finish(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    gate = asyncio.Event()

    async def slow(client: Conversation) -> None:
        while True:
            await client.request()
            await gate.wait()
            await client.answer({"data": {"from": "the old one"}})

    async with (
        running_upstream(slow) as old,
        running_upstream(good) as new,
        running_upstream(good) as stays,
        running_upstream(good) as gone,
    ):
        tables = table("orders.*", old.url), table("gone.*", gone.url), table("stays.*", stays.url)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            await client.ask("stays.here")
            number = await client.start("orders.create")
            await until(lambda: old.requests)
            await client.ask("gone.away")
            (tmp_path / "routes.toml").write_text(table("orders.*", new.url) + table("stays.*", stays.url))
            await reload(app)
            await until(lambda: not gone.open)
            assert (await client.ask("orders.create"))["type"] == "orders.create"
            assert (await client.refused("gone.away"))["status"] == 40002
            await client.ask("stays.here")
            assert stays.connections == 1
            gate.set()
            assert await client.expect("reply", id=number) == {"from": "the old one"}


async def test_over_http_a_route_answers_like_any_message(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        token = await app.gateway.token(alice)
        answer = await app.ask("POST", "/call/orders.create", token, json={"sku": 1})
        assert (answer.status_code, answer.json()["got"]) == (200, {"sku": 1})
        await service.become(resetting)
        failed = await app.ask("POST", "/call/orders.create", token, json={})
        assert (failed.status_code, failed.json()["name"]) == (502, "upstream_failed")


async def test_an_own_handler_may_call_a_service(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    class Own(MsgHandler[Empty, UpstreamReply]):
        schema = Empty
        ordered = False

        async def handle(self, data: Empty) -> UpstreamReply:
            reply = await self.session.upstream.call("orders.create", {"sku": 7}, id="mine")
            return UpstreamReply({"sku": reply.root["got"]["sku"], "user": self.session.user})

    async with running_upstream(good) as service:
        route = table("orders.*", service.url)
        async with routing(own_gateway, tmp_path, route, registry={**HANDLERS, "own": Own}) as app:
            async with app.connect(alice) as client:
                assert await client.ask("own") == {"sku": 7, "user": alice}
                assert service.requests[0].json["id"] == "mine"


async def test_a_drain_waits_for_calls(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    gate = asyncio.Event()

    async def slow(client: Conversation) -> None:
        await client.request()
        await gate.wait()
        await client.answer({"data": {"late": True}})

    async with running_upstream(slow) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            number = await client.start("orders.create")
            await until(lambda: service.requests)
            drained = asyncio.create_task(app.gateway.run(app.gateway.state.connections.drain(5)))
            await until(lambda: app.gateway.state.connections._draining)
            gate.set()
            await client.expect("reply", id=number)
            await client.expect("bye", code=1012)
            await client.expect_close(1012, "draining")
            await drained
