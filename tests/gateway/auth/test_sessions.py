"""Sessions: a refresh token extends one and is good only once. A second use ends the session."""

import asyncio
import base64
import json

import pytest
from sqlalchemy import Connection, text

from gateway.core.client_info import ClientInfo
from handlers.errors import AuthenticationFailed
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App, Frame


def claims(token: str) -> Frame:
    found: Frame = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


async def works(app: App, token: str) -> bool:
    response = await app.ask("GET", "/users/me", token)
    assert response.status_code in {200, 401}
    return response.status_code == 200


async def test_a_refresh_token_gives_the_next_one_and_an_access_token_of_the_same_session(app: App, alice: str) -> None:
    first = await app.grant(alice)
    response = await app.refresh(first["refresh_token"])
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    second = response.json()
    assert second.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (second["scope"], second["expires_in"]) == (first["scope"], 900)
    assert second["refresh_token"] != first["refresh_token"]
    old, new = claims(first["access_token"]), claims(second["access_token"])
    assert (old["sub"], old["sid"]) == (new["sub"], new["sid"])
    assert old["jti"] != new["jti"]
    async with app.connect_with(second["access_token"]) as client:
        assert client.welcome["user"] == alice
    third = await app.refresh(second["refresh_token"])
    assert third.status_code == 200


async def test_of_50_refreshes_at_once_with_one_token_there_is_one_successor(app: App, alice: str) -> None:
    token = (await app.grant(alice))["refresh_token"]
    responses = await asyncio.gather(*(app.refresh(token) for _ in range(50)))
    assert {response.status_code for response in responses} == {200}
    (successor,) = {response.json()["refresh_token"] for response in responses}
    assert (await app.refresh(successor)).status_code == 200


async def test_of_50_refreshes_in_one_moment_there_is_one_successor(app: App, alice: str) -> None:
    """Less than the time between two requests."""
    token = (await app.grant(alice))["refresh_token"]
    sessions = app.gateway.state.login_sessions

    async def at_once() -> set[str]:
        uses = (sessions.refresh(token, frozenset(), ClientInfo("127.0.0.1")) for _ in range(50))
        return {grant.refresh_token for grant in await asyncio.gather(*uses)}

    assert len(await app.gateway.run(at_once())) == 1


async def test_a_client_that_missed_its_answer_is_given_the_same_again_for_ten_seconds(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        first = await app.grant("alice")
        second = (await app.refresh(first["refresh_token"])).json()
        async with app.connect_with(second["access_token"]) as client:
            gateway.clock.ahead += 9
            again = (await app.refresh(first["refresh_token"])).json()
            assert again["refresh_token"] == second["refresh_token"]
            await client.expect_nothing()
        assert (await app.refresh(again["refresh_token"])).status_code == 200


async def test_a_spent_token_that_comes_back_later_ends_the_session_and_its_connections(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        stolen, other = await app.grant("alice"), await app.grant("alice")
        rightful = (await app.refresh(stolen["refresh_token"])).json()
        async with (
            app.connect_with(stolen["access_token"]) as one,
            app.connect_with(rightful["access_token"]) as two,
            app.connect_with(other["access_token"]) as elsewhere,
            app.connect("bob") as bob,
        ):
            gateway.clock.ahead += 11
            response = await app.refresh(stolen["refresh_token"])
            assert (response.status_code, response.json()["error"]) == (401, "invalid_grant")
            await one.expect_revoked()
            await two.expect_revoked()
            await elsewhere.expect_nothing()
            await bob.expect_nothing()
        assert (await app.refresh(rightful["refresh_token"])).status_code == 401
        assert not await works(app, rightful["access_token"])
        assert await works(app, other["access_token"])
        assert (await app.refresh(other["refresh_token"])).status_code == 200


async def test_a_token_from_before_the_last_one_has_no_grace(app: App, alice: str) -> None:
    first = (await app.grant(alice))["refresh_token"]
    second = (await app.refresh(first)).json()["refresh_token"]
    third = (await app.refresh(second)).json()["refresh_token"]
    assert (await app.refresh(first)).status_code == 401
    assert (await app.refresh(third)).status_code == 401


async def test_a_made_up_token_is_refused_and_ends_nothing(app: App, alice: str) -> None:
    grant = await app.grant(alice)
    made_up = "gwr_" + claims(grant["access_token"])["sid"] + "a" * 43
    bodies = [(await app.refresh(token)) for token in (made_up, "gwr_", "x", grant["access_token"])]
    assert {body.status_code for body in bodies} == {401}
    assert len({body.text for body in bodies}) == 1
    assert (await app.refresh(grant["refresh_token"])).status_code == 200


async def test_scopes_can_only_shrink_and_a_refused_refresh_spends_nothing(app: App, alice: str) -> None:
    await app.register(alice)
    grant = (await app.log_in(alice, scope="chat:read chat:write")).json()
    response = await app.refresh(grant["refresh_token"], scope="chat:read rooms:manage")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    narrow = (await app.refresh(grant["refresh_token"], scope="chat:read")).json()
    assert narrow["scope"] == claims(narrow["access_token"])["scope"] == "chat:read"
    # The access token was narrowed, and not the session (RFC 6749 §6).
    assert (await app.refresh(narrow["refresh_token"])).json()["scope"] == "chat:read chat:write"


async def test_a_session_is_refreshed_at_a_bounded_rate_and_a_refused_refresh_spends_nothing(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(refresh_rate_per_session=3)
    async with App(gateway) as app:
        grant, other = await app.grant("alice"), await app.grant("alice")
        token = grant["refresh_token"]
        for _ in range(3):
            token = (await app.refresh(token)).json()["refresh_token"]
        refused = await app.refresh(token)
        assert (refused.status_code, refused.json()["name"]) == (429, "rate_limited")
        assert 15 <= int(refused.headers["Retry-After"]) <= 20
        assert (await app.refresh(other["refresh_token"])).status_code == 200  # another session has its own rate
        gateway.clock.ahead += int(refused.headers["Retry-After"])
        assert (await app.refresh(token)).status_code == 200


async def test_what_has_ended_stays_so_after_a_restart(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(secret_key="k" * 20 + "0123456789abcdef")) as app:
        ended, live = await app.grant("alice"), await app.grant("alice")
        assert (await app.http.post("/token/revoke", data={"token": ended["refresh_token"]})).status_code == 200
    async with App(own_gateway(secret_key="k" * 20 + "0123456789abcdef")) as app:
        assert not await works(app, ended["access_token"])
        assert (await app.refresh(ended["refresh_token"])).status_code == 401
        assert await works(app, live["access_token"])
        assert (await app.refresh(live["refresh_token"])).status_code == 200


async def test_refresh_tokens_outlive_a_change_of_the_gateways_secret(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(secret_key="k" * 20 + "0123456789abcdef")) as app:
        grant = await app.grant("alice")
    async with App(own_gateway(secret_key="l" * 20 + "0123456789abcdef")) as app:
        assert not await works(app, grant["access_token"])
        renewed = (await app.refresh(grant["refresh_token"])).json()
        assert await works(app, renewed["access_token"])


async def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_its_days(own_gateway: OwnGateway) -> None:
    day = 24 * 3600
    gateway = own_gateway(session_days=3, session_idle_days=1)
    async with App(gateway) as app:
        idle, used = (await app.grant("alice"))["refresh_token"], (await app.grant("alice"))["refresh_token"]
        for _ in range(3):
            gateway.clock.ahead += 0.99 * day
            grant = (await app.refresh(used)).json()
            used = grant["refresh_token"]
        assert (await app.refresh(idle)).status_code == 401
        gateway.clock.ahead += 0.03 * day - 60
        grant = (await app.refresh(used)).json()
        assert 0 < grant["expires_in"] <= 60  # no longer than the session
        gateway.clock.ahead += 61
        assert (await app.refresh(grant["refresh_token"])).status_code == 401


async def test_one_session_too_many_ends_the_one_that_was_used_longest_ago(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_sessions_per_user=2)
    async with App(gateway) as app:
        first, second = await app.grant("alice"), await app.grant("alice")
        gateway.clock.ahead += 60
        first = (await app.refresh(first["refresh_token"])).json()
        async with app.connect_with(second["access_token"]) as client:
            third = await app.grant("alice")
            await client.expect_revoked()
        assert [await works(app, grant["access_token"]) for grant in (first, second, third)] == [True, False, True]


@pytest.mark.parametrize("change", ["disabled = true", "password_hash = 'x'"])
async def test_a_log_in_that_is_overtaken_by_the_end_of_its_password_comes_to_nothing(
    app: App, alice: str, change: str
) -> None:
    """The password may change between its check and the new session."""
    await app.register(alice)
    state = app.gateway.state

    async def overtaken() -> None:
        client = ClientInfo("127.0.0.1")
        user = await state.password_login.authenticate(alice, PASSWORD, client)
        update = text(f"UPDATE users SET {change} WHERE name = :name").bindparams(name=alice)
        await state.database.transact(lambda connection: connection.execute(update))
        with pytest.raises(AuthenticationFailed):
            await state.login_sessions.create(user, frozenset(), client)
        assert await state.login_sessions.list_for_user(user.id) == []

    await app.gateway.run(overtaken())


async def test_the_store_has_nothing_that_is_of_use_to_a_thief(app: App, alice: str) -> None:
    first = await app.grant(alice)
    second = (await app.refresh(first["refresh_token"])).json()

    def stored(connection: Connection) -> str:
        return str(connection.execute(text("SELECT * FROM login_sessions")).all())

    rows = await app.gateway.run(app.gateway.state.database.query(stored))
    for secret in (first["refresh_token"], second["refresh_token"], second["access_token"]):
        parts = (secret[start : start + 20] for start in range(4, len(secret) - 20))
        assert not any(part in rows for part in parts)


@pytest.mark.parametrize("text", ["%00", "a%00b", "%ED%A0%80", "a" * 65, "a%20b", "%F0%9F%98%80"])
async def test_a_text_that_no_database_should_see_is_refused_before_it(app: App, alice: str, text: str) -> None:
    grant = await app.grant(alice)
    response = await app.ask("DELETE", f"/users/me/sessions/{text}", grant["access_token"])
    assert response.status_code in {404, 422}
    for name in ("nul\0in a name", "\ud83d", "x" * 300):
        form = {"username": name.encode(errors="surrogatepass"), "password": PASSWORD}
        assert (await app.http.post("/token", data=form)).status_code in {401, 422}
    for token in ("gwr_" + "\0" * 65, "\0"):
        assert (await app.refresh(token)).status_code == 401
        assert (await app.http.post("/token/revoke", data={"token": token})).status_code == 200
