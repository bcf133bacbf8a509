"""`/ws/service`: the way of a worker from its key to its end, and all that it may do wrong."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.connections import registry
from gateway.core.client_info import operator
from gateway.core.clock import milliseconds
from gateway.store import services
from gateway.testing import Gateway
from gateway.upstream.worker import MOST_UNREAD, STUCK_SECONDS
from handlers.errors import UpstreamFailed, UpstreamTimeout
from schemas.codes import Close
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.services import add_service
from tests.support.waiting import until
from tests.support.workers import BILLING, ELSEWHERE, LONG, ORDERS, call, socket, use_routes, worker


@pytest.fixture
def gateway(own_gateway: OwnGateway) -> Gateway:
    """A gateway with routes for workers."""
    gateway = own_gateway()
    use_routes(gateway, ORDERS, BILLING, ELSEWHERE)
    return gateway


async def test_a_worker_serves_a_route(gateway: Gateway) -> None:
    async with worker(gateway) as orders:
        assert set(orders.welcome) == {
            *("connection", "service", "server_time", "heartbeat_seconds", "max_message_bytes", "protocol"),
        }
        assert await orders.serve("orders.*", parallel=4) == {"types": ["orders.*"], "parallel": 4}
        answer = asyncio.create_task(call(gateway, number=7))
        id_, body = await orders.message()
        assert body == {"number": 7}
        await orders.reply(id_, data={"total": 12}, effects=[{"disconnect": {}}])
        assert await answer == {"data": {"total": 12}, "effects": [{"disconnect": {}}]}
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        error = {"status": 60001, "name": "sold_out", "message": "none is left"}
        await orders.reply(id_, error=error)
        assert await answer == {"error": error}
        await orders.expect_nothing()


async def test_answers_come_in_any_order(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answers = [asyncio.create_task(call(gateway, number=number)) for number in range(8)]
        got = [await orders.message() for _ in answers]
        assert len({id_ for id_, _ in got}) == 8
        for id_, body in reversed(got):
            await orders.reply(id_, data=body)
        assert [(await answer)["data"] for answer in answers] == [{"number": number} for number in range(8)]


async def test_the_first_message_may_have_the_key(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with socket(gateway) as orders:
        await orders.send({"type": "auth", "id": 1, "data": {"token": key}})
        await orders.expect("reply", id=1, service="orders", scopes=["api:serve"])
        await orders.expect("welcome", service="orders")
        await orders.serve("orders.*")
        answer = asyncio.create_task(call(gateway))
        await orders.answer_one(done=True)
        assert await answer == {"data": {"done": True}}


async def test_a_token_of_the_service_serves_until_it_ends(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    grant = await gateway.run(gateway.state.services.grant("orders", key, frozenset(), operator()))
    token = grant.access_token
    async with worker(gateway, "orders.*", key=token) as orders:
        gateway.clock.ahead += 1000
        await orders.send({"type": "ping"})  # nothing after the end counts
        await orders.expect("bye", code=4410, reason="token_expired")


REFUSED = {
    "no key": (None, "", 40001),
    "a wrong key": ("gwk_nothing_nothing", "", 40001),
    "no key at all": ("hunter2", "", 40001),
}


@pytest.mark.parametrize(("key", "query", "status"), REFUSED.values(), ids=REFUSED)
async def test_only_a_key_opens_the_socket(own_gateway: OwnGateway, key: str | None, query: str, status: int) -> None:
    gateway = own_gateway(auth_timeout_seconds=0)
    async with socket(gateway, key, query) as client:
        await client.expect("error", status=status)
        await client.expect("bye", code=1008)


async def test_a_key_in_the_query_is_refused_even_beside_a_good_one(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with socket(gateway, key, f"?token={key}") as client:
        error = await client.expect("error", status=40001)
        assert "in the header Authorization" in error["message"]


async def test_a_worker_needs_its_scope(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:publish")
    async with socket(gateway, key) as client:
        error = await client.expect("error", status=40300)
        assert "`api:serve`" in error["message"]
        await client.expect("bye", code=1008)
    async with socket(gateway) as client:
        await client.send({"type": "auth", "data": {"token": key}})
        await client.expect("error", status=40300)
        await client.expect("bye", code=1008)


async def test_an_incoming_webhook_is_no_worker(gateway: Gateway) -> None:
    async with App(gateway) as app, app.connect("alice") as alice:
        await alice.ask("room.create", room="lobby")
    async with socket(gateway, await add_service(gateway, "ci", "api:publish", hook_of="lobby")) as hook:
        assert "incoming webhook" in (await hook.expect("error", status=40300))["message"]


async def test_a_user_is_no_worker_and_a_worker_no_user(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with App(gateway) as app:
        async with socket(gateway, await app.token("alice")) as alice:
            error = await alice.expect("error", status=40300)
            assert "gateway services add" in error["message"]
        async with app.socket(additional_headers={"Authorization": f"Bearer {key}"}) as orders:
            error = await orders.expect("error", status=40300)
            assert "/ws/service" in error["message"]


async def test_a_page_must_have_an_allowed_origin(gateway: Gateway) -> None:
    async with socket(gateway, headers={"Origin": "https://evil.example"}) as page:
        await page.expect("error", status=40300)
        await page.expect("bye", code=1008, reason="forbidden_origin")


async def test_a_plain_request_is_told_of_the_upgrade(gateway: Gateway) -> None:
    async with App(gateway) as app:
        assert (await app.http.get("/ws/service")).status_code == 426


async def test_refused_over_http_if_the_settings_say_so(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(handshake_rejection="http")
    with pytest.raises(InvalidStatus) as refused:
        async with socket(gateway, "gwk_nothing_nothing"):
            pass
    assert refused.value.response.status_code == 401


async def test_a_worker_serves_only_its_own_routes(gateway: Gateway) -> None:
    async with worker(gateway) as orders:
        for types in (["billing.pay"], ["web.*"], ["orders.create"], ["nothing"], ["*"], ["orders.*", "chat.send"]):
            error = await orders.refused("route.serve", types=types)
            assert error["status"] == 40300, types
            assert "It may serve: `orders.*`" in error["message"]
        with pytest.raises(UpstreamFailed):
            await call(gateway)
        with pytest.raises(UpstreamFailed):
            await call(gateway, BILLING)
    async with worker(gateway, "billing.pay", service="billing") as billing:
        answer = asyncio.create_task(call(gateway, BILLING))
        await billing.answer_one(paid=True)
        assert await answer == {"data": {"paid": True}}


async def test_a_route_that_names_another_service_meanwhile_is_served_no_more(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        with pytest.raises(UpstreamFailed) as failed:
            await call(gateway, type(ORDERS)("orders.*", service="warehouse"))
        assert failed.value.reason == "no worker serves this route now"
        await orders.expect_nothing()


WRONG_PARALLEL = [0, -1, 10**9, 1025, 1.5, "16", True, None]


@pytest.mark.parametrize("parallel", WRONG_PARALLEL)
async def test_a_worker_takes_from_1_to_1024_messages_at_a_time(gateway: Gateway, parallel: object) -> None:
    async with worker(gateway) as orders:
        error = await orders.refused("route.serve", types=["orders.*"], parallel=parallel)
        assert error["status"] == 42200
        assert error["details"][0]["field"] == "data.parallel"
        with pytest.raises(UpstreamFailed):
            await call(gateway)
        await orders.serve("orders.*", parallel=1024)


WRONG = {
    "no types": {"type": "route.serve", "id": 1},
    "types that are a text": {"type": "route.serve", "id": 1, "data": {"types": "orders.*"}},
    "a type that is a number": {"type": "route.serve", "id": 1, "data": {"types": [1]}},
    "101 types": {"type": "route.serve", "id": 1, "data": {"types": ["orders.*"] * 101}},
    "an empty type": {"type": "route.serve", "id": 1, "data": {"types": [""]}},
    "something new": {"type": "route.serve", "id": 1, "data": {"types": ["orders.*"], "mood": 1}},
    "data for a ping": {"type": "ping", "id": 1, "data": {"now": True}},
    "a key beside": {"type": "ping", "id": 1, "mood": 1},
    "no type": {"id": 1},
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG)
async def test_a_wrong_message_gets_an_error_and_nothing_else_happens(
    gateway: Gateway, message: dict[str, Any]
) -> None:
    async with worker(gateway) as orders:
        await orders.send(message)
        await orders.expect("error", id=1, status=42200)
        await orders.serve("orders.*")
        with pytest.raises(UpstreamTimeout):
            await call(gateway, seconds=0.01)


async def test_an_unknown_message_names_the_known_ones(gateway: Gateway) -> None:
    async with worker(gateway) as orders:
        for type_, nearest in (("route.server", "`route.serve`"), ("replay", "`reply`")):
            error = await orders.refused(type_)
            assert (error["status"], nearest in error["message"]) == (40002, True)
        assert (await orders.refused("chat.send"))["status"] == 40002


async def test_frames_that_are_no_json_object_get_an_error(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        for frame in ("{", "[]", '"reply"', '{"type":"reply","type":"ping"}', b"\x00\x01", '{"type":NaN}'):
            await orders.send(frame)
            await orders.expect("error", id=None, status=40000)
        answer = asyncio.create_task(call(gateway))
        await orders.answer_one(still=True)
        assert await answer == {"data": {"still": True}}


async def test_ten_such_frames_end_the_connection(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_protocol_errors=10)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        open_ = asyncio.create_task(call(gateway))
        await orders.message()
        for _ in range(10):
            await orders.send("hunter2")
        await orders.until(type="bye")
        await orders.expect_close(4400, "too_many_errors")
        with pytest.raises(UpstreamFailed):
            await open_


async def test_nothing_answers_twice(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.reply(id_, data="first")
        await orders.reply(id_, data="second")
        error = await orders.expect("error", id=id_, status=40900)
        assert "has its answer already" in error["message"]
        assert await answer == {"data": "first"}


async def test_no_worker_answers_a_message_of_another(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, "orders.*", key=key) as orders, worker(gateway, "orders.*", key=key) as liar:
        answers = [asyncio.create_task(call(gateway, number=number)) for number in range(2)]
        (of_orders, _), (of_liar, _) = await orders.message(), await liar.message()
        await liar.reply(of_orders, data="a lie")
        await liar.expect("error", id=of_orders, status=40400)
        wrong: tuple[Any, ...] = (of_liar + "0", of_liar.replace(".", ".0"), of_liar.upper() + " ")
        for id_ in ("", "1", "2", *wrong, 1, None, ["x"], {}):
            await liar.send({"type": "reply", "id": id_, "data": "a lie"})
            await liar.expect("error", status=40400)
        await liar.send({"type": "reply", "data": "a lie"})
        await liar.expect("error", id=None, status=40400)
        await orders.reply(of_orders, data="right")
        await liar.reply(of_liar, data="right")
        assert [await answer for answer in answers] == [{"data": "right"}] * 2


WRONG_ANSWERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "both": {"data": 1, "error": {"status": 60001, "name": "x", "message": "y"}},
    "something new": {"data": 1, "mood": "hunter2"},
    "effects alone": {"effects": []},
}


@pytest.mark.parametrize("parts", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
async def test_an_answer_with_wrong_keys_fails_its_message_at_once(gateway: Gateway, parts: dict[str, Any]) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.reply(id_, **parts)
        error = await orders.expect("error", id=id_, status=42200)
        assert "expected `data` or `error`" in error["details"][0]["message"]
        with pytest.raises(UpstreamFailed) as failed:
            await answer
        assert "wrong keys" in failed.value.reason
        await orders.reply(id_, data="again")
        await orders.expect("error", id=id_, status=40900)
        answer = asyncio.create_task(call(gateway))
        await orders.answer_one(right=True)
        assert await answer == {"data": {"right": True}}


async def test_an_answer_may_be_as_long_as_a_frame_and_no_longer(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_message_bytes=1024)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        assert orders.welcome["max_message_bytes"] == 256 * 1024
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.reply(id_, data="x" * (255 * 1024))
        assert len((await answer)["data"]) == 255 * 1024
        open_ = [asyncio.create_task(call(gateway)) for _ in range(2)]
        ids = [(await orders.message())[0] for _ in open_]
        with suppress(ConnectionClosed):
            await orders.reply(ids[0], data="x" * (10 * 1024 * 1024))
        with pytest.raises(ConnectionClosed) as closed:
            await orders.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        for each in open_:
            with pytest.raises(UpstreamFailed):
                await asyncio.wait_for(each, LONG / 4)


async def test_a_worker_that_goes_away_costs_its_open_messages_at_once_and_nothing_else(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, "orders.*", key=key, parallel=1) as stays:
        async with worker(gateway, "orders.*", key=key, parallel=1) as goes:
            calls = {number: asyncio.create_task(call(gateway, number=number)) for number in range(2)}
            (id_, kept), (_, lost) = await stays.message(), await goes.message()
            waiting = asyncio.create_task(call(gateway, number=2))
            await until(lambda: gateway.state.workers.figures.waiting == 1)
            goes.ws.transport.abort()
            with pytest.raises(UpstreamFailed) as failed:
                await asyncio.wait_for(calls[lost["number"]], LONG / 4)
            assert failed.value.reason == "the worker has gone away"
        await stays.reply(id_, data="kept")
        assert await calls[kept["number"]] == {"data": "kept"}
        assert await stays.answer_one() == {"number": 2}
        await waiting
        await until(lambda: gateway.state.workers.figures.connections == 1)


async def test_without_a_worker_a_message_fails_at_once(gateway: Gateway) -> None:
    with pytest.raises(UpstreamFailed):
        await asyncio.wait_for(call(gateway), LONG / 4)
    async with worker(gateway, "orders.*", parallel=1) as orders:
        calls = [asyncio.create_task(call(gateway)) for _ in range(3)]
        await orders.message()
        await until(lambda: gateway.state.workers.figures.waiting == 2)
        await orders.serve()  # which is how a worker says that it wants no more
        for each in calls[1:]:
            with pytest.raises(UpstreamFailed):
                await asyncio.wait_for(each, LONG / 4)
        assert not calls[0].done()
    with pytest.raises(UpstreamFailed):
        await calls[0]


async def test_a_worker_that_never_answers_costs_each_message_its_time_and_gets_more(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        for _ in range(2):
            with pytest.raises(UpstreamTimeout):
                await call(gateway, seconds=0.05)
        first, _ = await orders.message()
        await orders.expect("route.cancel", id=first)
        second, _ = await orders.message()
        await orders.expect("route.cancel", id=second)
        answer = asyncio.create_task(call(gateway))
        await orders.reply(first, data="late")
        frames = [await orders.next(), await orders.next()]
        (error,) = [frame for frame in frames if frame["type"] == "error"]
        (message,) = [frame for frame in frames if frame["type"] == "route.message"]
        assert (error["id"], error["status"]) == (first, 40900)
        await orders.reply(message["id"], data="in time")
        assert await answer == {"data": "in time"}


async def test_a_message_that_nobody_waits_for_is_cancelled(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        sending = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        sending.cancel()
        await orders.expect("route.cancel", id=id_)
        answer = asyncio.create_task(call(gateway))
        await orders.answer_one(next=True)
        assert await answer == {"data": {"next": True}}


async def test_answers_cost_a_worker_nothing_and_all_else_counts(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=20)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        for number in range(100):
            answer = asyncio.create_task(call(gateway))
            await orders.answer_one(number=number)
            assert await answer == {"data": {"number": number}}
        open_ = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        for _ in range(30):
            await orders.send({"type": "reply", "id": "00000000.1", "data": 1})
        statuses = [(await orders.expect("error"))["status"] for _ in range(30)]
        assert statuses.count(42900) > 5
        gateway.clock.ahead += 5
        await orders.reply(id_, data="still here")
        assert await open_ == {"data": "still here"}


async def test_a_flood_ends_the_connection(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=20)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        open_ = asyncio.create_task(call(gateway))
        await orders.message()
        for _ in range(1100):
            await orders.send('{"type":"ping"}')
        await orders.until(type="bye")
        await orders.expect_close(4429, "rate_abuse")
        with pytest.raises(UpstreamFailed):
            await open_


async def test_a_worker_that_does_not_read_is_cut_off(gateway: Gateway) -> None:
    """What it has not read fills no memory, and its messages fail when it is cut off."""
    async with worker(gateway, "orders.*", parallel=1024, max_queue=1) as orders:
        orders.ws.transport.pause_reading()
        text = "x" * 60_000
        long = [asyncio.create_task(call(gateway, text=text)) for _ in range(400)]
        await until(lambda: gateway.state.workers.figures.waiting > 0)
        (connection,) = gateway.state.workers._serving
        assert MOST_UNREAD <= connection._peer.backlog < 2 * MOST_UNREAD
        assert gateway.state.workers.figures.busy < 400
        long[0].cancel()  # which is no sign that it does not read
        short = asyncio.create_task(call(gateway, seconds=STUCK_SECONDS / 4))  # for which there is no room
        assert isinstance((await asyncio.gather(short, return_exceptions=True))[0], UpstreamTimeout)
        assert gateway.state.counters.ended[Close.SLOW_CONSUMER] == 0
        gateway.loop.call_soon_threadsafe(connection._note_silence, gateway.loop.time() + STUCK_SECONDS)
        for each in long[1:]:
            with pytest.raises(UpstreamFailed):
                await asyncio.wait_for(each, LONG / 2)
        await until(lambda: gateway.state.counters.ended[Close.SLOW_CONSUMER] == 1)


async def test_a_worker_that_lets_a_message_run_out_of_time_and_does_not_read_is_cut_off(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1024, max_queue=1) as orders:
        orders.ws.transport.pause_reading()
        calls = [call(gateway, seconds=2 * STUCK_SECONDS, text="x" * 60_000) for _ in range(400)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {UpstreamTimeout, UpstreamFailed}
        await until(lambda: gateway.state.counters.ended[Close.SLOW_CONSUMER] == 1)


async def test_a_slow_worker_that_reads_is_not_cut_off(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1024, max_queue=1) as orders:
        calls = [asyncio.create_task(call(gateway, seconds=60, text="x" * 60_000)) for _ in range(200)]
        for _ in calls:
            await orders.answer_one(done=True)
        assert [await each for each in calls] == [{"data": {"done": True}}] * 200


@pytest.mark.both_stores
async def test_a_revoked_key_ends_the_connection(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")

    def revoke(connection: Connection) -> None:
        found = services.find(connection, "orders")
        assert found is not None
        services.revoke_keys(connection, found.user_id, milliseconds(gateway.state.clock))

    async with worker(gateway, "orders.*", key=key) as orders:
        open_ = asyncio.create_task(call(gateway))
        await orders.message()
        await gateway.run(gateway.state.database.transact(revoke))
        await orders.expect_revoked()
        with pytest.raises(UpstreamFailed):
            await open_


async def test_a_worker_hears_nothing_that_is_for_users(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders, App(gateway) as app:
        token = await gateway.token("root", "admin")
        async with app.connect_with(token) as root:
            await root.ask("announce", text="Coffee!")
        await orders.expect_nothing()


async def test_open_messages_may_finish_while_the_gateway_drains(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        draining = asyncio.create_task(gateway.run(gateway.state.connections.drain(LONG)))
        await until(lambda: gateway.state.workers.figures.connections == 0)
        with pytest.raises(UpstreamFailed):
            await call(gateway)
        await orders.serve("orders.*")  # too late
        with pytest.raises(UpstreamFailed):
            await call(gateway)
        await orders.reply(id_, data="last")
        assert await answer == {"data": "last"}
        await orders.expect("bye", code=1012, reconnect="after_delay")
        await orders.expect_close(1012, "draining")
        await draining
    async with socket(gateway, await add_service(gateway, "late", "api:serve")) as late:
        await late.expect("bye", code=1012)


async def test_an_idle_worker_is_drained_like_any_client(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders, worker(gateway, service="billing"):
        draining = asyncio.create_task(gateway.run(gateway.state.connections.drain(LONG)))
        await orders.expect("bye", code=1012)
        await orders.expect_close(1012, "draining")
        await draining


async def test_the_connections_of_a_service_have_a_limit_of_their_own(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_CONNECTIONS_PER_SERVICE", 2)
    gateway = own_gateway(max_connections_per_user=1)
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, key=key) as first, worker(gateway, key=key) as second:
        async with socket(gateway, key) as third:
            await third.expect("bye", code=1013)
        await first.expect_nothing()
        await second.expect_nothing()
        async with worker(gateway, service="billing"):
            pass


async def test_a_fault_in_a_message_is_answered_and_logged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker(gateway) as orders:
        monkeypatch.setattr(gateway.state.workers, "serve", lambda *_: 1 / 0)
        error = await orders.refused("route.serve", types=["orders.*"])
        assert error["status"] == 50000
        assert "ZeroDivisionError" in caplog.text
        await orders.expect_nothing()


async def test_no_log_line_has_the_key(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    secret = key.split("_")[2]
    async with worker(gateway, key=key), socket(gateway, None, f"?token={key}"), socket(gateway) as wrong:
        await wrong.send(json.dumps({"type": "auth", "data": {"token": key[:-1]}}))
        await wrong.expect("error")
    assert secret[:-1] not in caplog.text
