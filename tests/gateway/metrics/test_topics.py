"""What an operator finds in the metrics after each thing that has happened."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App
from tests.support.metrics import metrics_of
from tests.support.waiting import until


@pytest.mark.both_stores
async def test_a_write_shows_its_wait_its_batch_and_its_transaction(app: App, alice: str, bob: str, room: str) -> None:
    before = await metrics_of(app)
    async with app.in_room(alice, room) as ann, app.in_room(bob, room):
        await ann.until(type="room.joined")
        for number in range(3):
            await ann.say(room, f"{number}")
        now = await metrics_of(app)

    def grown(name: str) -> float:
        return now[name] - before.get(name, 0)

    assert grown("gateway_write_wait_seconds_count") == grown("gateway_commit_changes_sum") >= 3
    assert grown("gateway_commit_seconds_count") == grown("gateway_commit_changes_count") >= 3
    assert grown("gateway_commit_seconds_sum") > 0
    assert grown('gateway_store_seconds_count{operation="run_script"}') >= 3
    assert sum(value for name, value in now.items() if name.startswith("gateway_store_open")) == 0
    assert grown("gateway_events_delivered_total") >= 6
    assert now["gateway_disk_free_bytes"] > 0


async def test_the_sizes_of_the_files_are_those_of_sqlite(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        found = await metrics_of(app)
        assert found['gateway_store_bytes{file="database"}'] > 0
        assert found['gateway_store_bytes{file="log"}'] >= 0
        assert "gateway_store_connections" not in " ".join(found)


async def test_connections_users_and_subscriptions_are_counted(own_gateway: OwnGateway, alice: str, bob: str) -> None:
    room = "a-room-of-mine"
    async with App(own_gateway()) as app:
        async with app.in_room(alice, room), app.connect(alice), app.in_room(bob, room):
            found = await metrics_of(app)
            assert found["gateway_connections"] == found["gateway_connections_opened_total"] == 3
            assert (found["gateway_users"], found["gateway_subscriptions"]) == (2, 2)
            assert found["gateway_connections_max"] > 3
            assert found["gateway_draining"] == 0
        await until(lambda: _is(app, "gateway_users", 0))


async def _is(app: App, name: str, value: float) -> bool:
    return (await metrics_of(app)).get(name) == value


async def test_log_ins_show_why_they_were_refused(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(login_rate_per_address=6, login_backoff_seconds=0)) as app:
        await app.register("a-user-of-mine")
        assert (await app.log_in("a-user-of-mine")).status_code == 200
        for name, password in (("a-user-of-mine", "not this one"), ("nobody-of-mine", PASSWORD)):
            assert (await app.log_in(name, password)).status_code in {400, 401}
        while (await app.log_in("a-user-of-mine", "wrong")).status_code != 429:
            pass
        found = await metrics_of(app)
        outcomes = {
            outcome: found[f'gateway_logins_total{{outcome="{outcome}",what="log_in"}}']
            for outcome in ("ok", "wrong_password", "unknown_user", "limited")
        }
        assert outcomes["ok"] == outcomes["unknown_user"] == outcomes["limited"] == 1
        assert outcomes["wrong_password"] >= 2
        assert found['gateway_logins_total{outcome="ok",what="register"}'] == 1
        assert found["gateway_hash_seconds_count"] >= 4
        assert (found["gateway_hashes_open"], found["gateway_hashes_turned_away_total"]) == (0, 0)
        text = (await app.http.get("/metrics")).text
        assert "of-mine" not in text


async def test_a_refused_token_shows_the_check_and_the_handshake_its_status(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with App(own_gateway()) as app:
        token = await app.token(alice)
        signed, _, signature = token.rpartition(".")
        wrong = f"{signed}.{'A' * (len(signature) - 1)}{signature[-1]}"
        for bad in (wrong, "x.y.z"):
            async with app.socket(f"?token={bad}") as client:
                await client.expect("error", status=40001)
        found = await metrics_of(app)
        assert found['gateway_credentials_refused_total{check="signature",service="gateway"}'] == 1
        assert found['gateway_credentials_refused_total{check="form",service="gateway"}'] == 1
        assert found['gateway_handshakes_refused_total{status="40001"}'] == 2


async def test_requests_are_counted_by_route_and_never_by_path(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        await app.http.get("/healthz")
        await app.http.get("/a-path-of-mine")
        await app.http.post("/call/a-type-of-mine")
        found = await metrics_of(app)
        assert found['gateway_requests_total{route="/healthz",status="200"}'] == 1
        assert found['gateway_requests_total{route="none",status="404"}'] == 1
        assert found['gateway_requests_total{route="/call/{type}",status="401"}'] == 1
        assert found['gateway_request_seconds_count{route="/healthz"}'] == 1
        assert "of-mine" not in (await app.http.get("/metrics")).text


async def test_the_process_shows_its_lag_and_its_regular_work(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        await until(lambda: _at_least(app, "gateway_loop_lag_seconds_count", 2))
        found = await metrics_of(app)
        ages = {name: age for name, age in found.items() if name.startswith("gateway_work_age_seconds")}
        assert 0 <= ages['gateway_work_age_seconds{loop="revocations"}'] < 60
        assert min(ages.values()) >= 0  # work of other gateways in this process may be hourly
        assert any(name.startswith("gateway_info{") and 'store="sqlite"' in name for name in found)
        assert 'gateway_gc_seconds_count{generation="0"}' in found


async def _at_least(app: App, name: str, value: float) -> bool:
    return (await metrics_of(app))[name] >= value


async def test_the_parser_of_prometheus_reads_all_of_it(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        await client.say(room, "hello")
        text = (await app.http.get("/metrics")).text
    families = list(text_string_to_metric_families(text))
    assert len(families) > 60
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.type != "unknown" and family.documentation for family in families)
