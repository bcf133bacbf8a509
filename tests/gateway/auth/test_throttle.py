"""Guessing passwords: few guesses reach a hash, and the real user still gets in."""

import asyncio
import time
from collections import Counter

import httpx2
import pytest

from gateway.auth.passwords import HashingBusy
from gateway.core.client_info import ClientInfo
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App


async def guess(app: App, name: str, address: str, password: str = "a wrong guess") -> httpx2.Response:
    """Log in as if from another address, which the proxy reports."""
    form = {"username": name, "password": password}
    return await app.http.post("/token", data=form, headers={"X-Forwarded-For": address})


@pytest.fixture
def guarded(own_gateway: OwnGateway) -> Gateway:
    """A gateway with the default limits, behind a proxy on this machine."""
    limits = {"login_rate_per_user": 5, "login_rate_per_address": 20, "login_backoff_seconds": 900}
    return own_gateway(trusted_proxies="127.0.0.1", **limits)


@pytest.mark.parametrize("name", ["alice", "nobody"])
@pytest.mark.parametrize("addresses", [1, 50])
async def test_of_200_guesses_in_five_minutes_ten_reach_the_hash(guarded: Gateway, addresses: int, name: str) -> None:
    async with App(guarded) as app:
        await app.register("alice")
        outcomes: Counter[int] = Counter()
        for number in range(200):
            outcomes[(await guess(app, name, f"10.0.0.{number % addresses}")).status_code] += 1
            guarded.clock.ahead += 1.5
        assert outcomes.keys() == {401, 429}
        assert 8 <= outcomes[401] <= 10  # whether there is such a user or not
        if name == "alice":
            refused = await guess(app, name, "10.0.1.1", PASSWORD)
            assert refused.status_code == 429
            wait = int(refused.headers["Retry-After"])
            assert 0 < wait <= 900
            guarded.clock.ahead += wait
            assert (await guess(app, name, "10.0.1.1", PASSWORD)).status_code == 200


async def test_where_a_user_has_logged_in_before_the_guesses_of_others_do_not_matter(guarded: Gateway) -> None:
    async with App(guarded) as app:
        await app.register("alice")
        assert (await guess(app, "alice", "10.0.0.1", PASSWORD)).status_code == 200
        for number in range(100):
            refused = await guess(app, "alice", f"10.0.1.{number}")
            if 0 < (wait := int(refused.headers.get("Retry-After", 0))) < 256:
                guarded.clock.ahead += wait  # until the next wait is longer than what is left of this test
        assert (await guess(app, "alice", "10.0.1.200", PASSWORD)).status_code == 429
        assert (await guess(app, "alice", "10.0.0.1", PASSWORD)).status_code == 200
        # Nor does it help a guesser, and that address has no further guesses left.
        assert (await guess(app, "alice", "10.0.1.201", PASSWORD)).status_code == 429
        assert [(await guess(app, "alice", "10.0.0.1")).status_code for _ in range(3)] == [401, 401, 429]


async def test_failures_double_the_wait_and_a_success_forgets_them(guarded: Gateway) -> None:
    async with App(guarded) as app:
        await app.register("alice")
        waits = []
        for _ in range(12):
            while (response := await guess(app, "alice", "10.0.0.1")).status_code == 429:
                waits.append(int(response.headers["Retry-After"]))
                guarded.clock.ahead += waits[-1]
            assert response.status_code == 401
        # At first, the rate of 5 a minute sets the wait, and a busy machine takes a second itself.
        for wait, expected in zip(waits[-5:], [32, 64, 128, 256, 512], strict=True):
            assert expected - 2 <= wait <= expected
        guarded.clock.ahead += 900
        assert (await guess(app, "alice", "10.0.0.1", PASSWORD)).status_code == 200
        assert [(await guess(app, "alice", "10.0.0.1")).status_code for _ in range(3)] == [401, 401, 429]


async def test_many_guesses_at_once_are_no_way_around_it(guarded: Gateway) -> None:
    async with App(guarded) as app:
        await app.register("alice")
        guarded.clock.stop()
        responses = await asyncio.gather(*(guess(app, "alice", f"10.0.0.{number}") for number in range(40)))
        assert Counter(response.status_code for response in responses) == {401: 2, 429: 38}


async def test_who_changes_addresses_within_a_network_of_ipv6_is_one(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(trusted_proxies="127.0.0.1", login_rate_per_address=3)
    async with App(gateway) as app:
        names = [f"user-{number}" for number in range(5)]
        inside = [await guess(app, name, f"2001:db8::{name[-1]}") for name in names]
        assert [response.status_code for response in inside] == [401] * 3 + [429] * 2
        assert (await guess(app, "user-6", "2001:db8:0:1::1")).status_code == 401


async def register(app: App, name: str, address: str, password: str = PASSWORD) -> httpx2.Response:
    """Register as if from another address, which the proxy reports."""
    new = {"username": name, "password": password}
    return await app.http.post("/users", json=new, headers={"X-Forwarded-For": address})


async def test_an_address_registers_so_many_users_an_hour(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(trusted_proxies="127.0.0.1", registration_rate_per_address=3)
    gateway.clock.stop()
    async with App(gateway) as app:
        inside = [await register(app, f"user-{number}", f"2001:db8::{number}") for number in range(3)]
        assert [response.status_code for response in inside] == [201] * 3
        refused = await register(app, "user-3", "2001:db8::9")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1201")
        assert refused.json()["message"] == "too many registrations from this address, the limit is 3 an hour"
        assert (await guess(app, "user-0", "2001:db8::1", PASSWORD)).status_code == 200
        assert (await register(app, "user-4", "2001:db8:0:1::1")).status_code == 201
        gateway.clock.ahead += 1201
        assert (await register(app, "user-0", "2001:db8::1")).status_code == 409  # which counts, too
        assert (await register(app, "user-3", "2001:db8::1")).status_code == 429
        gateway.clock.ahead += 1201
        assert (await register(app, "user-5", "2001:db8::1", "short")).status_code == 422  # which does not
        assert (await register(app, "user-3", "2001:db8::1")).status_code == 201


async def test_an_address_is_believed_only_of_a_proxy_that_is_named(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(login_rate_per_address=3)) as app:
        statuses = [(await guess(app, f"user-{number}", f"10.0.0.{number}")).status_code for number in range(5)]
        assert statuses == [401] * 3 + [429] * 2


async def test_the_old_password_cannot_be_guessed_with_a_token(guarded: Gateway) -> None:
    async with App(guarded) as app:
        token = await app.token("alice")
        body = {"old_password": "a wrong guess", "new_password": "another battery staple"}
        statuses = [(await app.ask("PUT", "/users/me/password", token, json=body)).status_code for _ in range(4)]
        assert statuses == [403, 403, 429, 429]


async def test_more_log_ins_than_can_be_hashed_are_refused_at_once_while_sockets_stay_fast(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(password_rounds=10)
    async with App(gateway) as app, app.connect("alice") as client:
        flood = [asyncio.create_task(app.log_in(f"user-{number}", "a wrong guess")) for number in range(60)]
        pings = 0
        while not all(task.done() for task in flood):
            await client.ask("ping")
            pings += 1
        responses = [task.result() for task in flood]
        refused = [response for response in responses if response.status_code == 503]
        assert {response.status_code for response in responses} == {401, 503}
        assert all(response.headers["Retry-After"] == "1" for response in refused)
        assert len(refused) >= 60 - 2 * gateway.state.passwords.capacity
        assert pings > 60  # in one queue with the hashes, each ping would wait for one of them


async def test_who_was_turned_away_since_too_many_were_hashing_has_not_failed(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(password_rounds=10, login_backoff_seconds=900)
    state = gateway.state

    async def while_all_threads_are_busy() -> None:
        hashing = [asyncio.create_task(state.passwords.hash("a password")) for _ in range(state.passwords.capacity)]
        await asyncio.sleep(0)  # they have begun
        for _ in range(3):
            with pytest.raises(HashingBusy):
                await state.password_login.authenticate("alice", PASSWORD, ClientInfo("127.0.0.1"))
        await asyncio.gather(*hashing)

    async with App(gateway) as app:
        await app.register("alice")
        await gateway.run(while_all_threads_are_busy())
        assert (await app.log_in("alice")).status_code == 200


KINDS = {
    "wrong": "a wrong password",
    "of another": PASSWORD + "!",
    "short": "1234567",
    "73 bytes": "x" * 73,
    "5000 bytes": "x" * 5000,
    "with a NUL": "secret\0secret",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_existing_user_and_an_unknown_one_are_answered_alike(app: App, alice: str, kind: str) -> None:
    await app.register(alice)
    seen = set()
    for name in (alice, f"un{alice}", "No\0body at all", "x" * 200):
        response = await app.log_in(name, KINDS[kind])
        headers = {key: value for key, value in response.headers.items() if key not in CHANGING}
        seen.add((response.status_code, response.text, tuple(headers.items())))
    assert len(seen) == 1


CHANGING = {"x-request-id", "server-timing", "date"}


async def test_a_name_that_is_no_users_costs_a_hash_as_well(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(password_rounds=10)) as app:
        await app.register("alice")
        costs = {}
        for name in ("alice", "nobody", "no name at all"):
            began = time.perf_counter()
            await app.log_in(name, "a wrong guess")
            costs[name] = time.perf_counter() - began
        # A hash of 10 rounds takes some 50 ms; an answer without one takes two.
        assert min(costs.values()) > 0.02, costs


async def test_a_flood_of_what_no_password_can_be_costs_the_address_and_no_name(guarded: Gateway) -> None:
    async with App(guarded) as app:
        await app.register("alice")
        for number in range(30):
            assert (await guess(app, "alice", f"10.1.0.{number}", "\0")).status_code == 401
        assert (await guess(app, "alice", "10.2.0.1", PASSWORD)).status_code == 200
        statuses = [(await guess(app, f"user-{number}", "10.3.0.1", "\0")).status_code for number in range(25)]
        assert statuses == [401] * 20 + [429] * 5
