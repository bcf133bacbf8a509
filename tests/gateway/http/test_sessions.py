"""`/users/me/sessions` and `/users/me/password`: a user lists and ends sessions, and changes the password."""

from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App

NEW_PASSWORD = "another battery staple"


async def listed(app: App, token: str) -> list[dict[str, Any]]:
    response = await app.ask("GET", "/users/me/sessions", token)
    assert response.status_code == 200
    sessions: list[dict[str, Any]] = response.json()["sessions"]
    return sessions


async def log_in_from(app: App, name: str, device: str) -> str:
    form = {"username": name, "password": PASSWORD}
    response = await app.http.post("/token", data=form, headers={"User-Agent": device})
    token: str = response.json()["access_token"]
    return token


async def test_a_user_sees_where_it_is_logged_in(app: App, alice: str, bob: str) -> None:
    await app.register(alice)
    await app.token(bob)
    phone = await log_in_from(app, alice, "Phone/1.0\t" + "x" * 300)
    laptop = await log_in_from(app, alice, "Laptop/2.0")
    first, second = await listed(app, laptop)
    assert (first["user_agent"], first["current"]) == ("Laptop/2.0", True)
    assert (second["user_agent"][:12], second["current"]) == ("Phone/1.0xxx", False)
    assert len(second["user_agent"]) <= 200
    assert first["address"] == "127.0.0.1"
    assert first["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
    assert first["created_at"] == first["last_used_at"] < first["expires_at"]
    assert "hash" not in str(first)
    assert [session["current"] for session in await listed(app, phone)] == [False, True]


async def test_one_session_is_ended_with_its_connections(app: App, alice: str, bob: str) -> None:
    mine, lost = await app.grant(alice), await app.grant(alice)
    (id,) = (each["id"] for each in await listed(app, mine["access_token"]) if not each["current"])
    async with app.connect_with(mine["access_token"]) as here, app.connect_with(lost["access_token"]) as there:
        stranger = await app.ask("DELETE", f"/users/me/sessions/{id}", await app.token(bob))
        assert (stranger.status_code, stranger.json()["name"]) == (404, "not_found")
        await there.expect_nothing()
        response = await app.ask("DELETE", f"/users/me/sessions/{id}", mine["access_token"])
        assert (response.status_code, response.content) == (204, b"")
        await there.expect_revoked()
        await here.expect_nothing()
    assert (await app.refresh(lost["refresh_token"])).status_code == 401
    assert [each["current"] for each in await listed(app, mine["access_token"])] == [True]
    again = await app.ask("DELETE", f"/users/me/sessions/{id}", mine["access_token"])
    assert again.status_code == 404


async def test_a_session_with_no_id_is_none_and_ends_no_other(app: App, alice: str) -> None:
    mine, other = await app.grant(alice), await app.grant(alice)
    async with app.connect_with(other["access_token"]) as there:
        response = await app.ask("DELETE", "/users/me/sessions/", mine["access_token"])
        assert (response.status_code, response.json()["name"]) == (404, "not_found")
        await there.expect_nothing()


async def test_all_other_sessions_are_ended_at_once(app: App, alice: str, bob: str) -> None:
    mine, *others = [await app.grant(alice) for _ in range(3)]
    async with (
        app.connect_with(mine["access_token"]) as here,
        app.connect_with(others[0]["access_token"]) as one,
        app.connect_with(others[1]["access_token"]) as two,
        app.connect(bob) as bystander,
    ):
        assert (await app.ask("DELETE", "/users/me/sessions", mine["access_token"])).status_code == 204
        await one.expect_revoked()
        await two.expect_revoked()
        await here.expect_nothing()
        await bystander.expect_nothing()
    assert len(await listed(app, mine["access_token"])) == 1


async def test_a_new_password_ends_all_sessions_but_the_one_that_set_it(app: App, alice: str) -> None:
    mine, other = await app.grant(alice), await app.grant(alice)
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    async with app.connect_with(mine["access_token"]) as here, app.connect_with(other["access_token"]) as there:
        response = await app.ask("PUT", "/users/me/password", mine["access_token"], json=body)
        assert (response.status_code, response.content) == (204, b"")
        await there.expect_revoked()
        await here.expect_nothing()
    assert (await app.refresh(other["refresh_token"])).status_code == 401
    assert (await app.refresh(mine["refresh_token"])).status_code == 200
    assert (await app.log_in(alice)).status_code == 401
    assert (await app.log_in(alice, NEW_PASSWORD)).status_code == 200


WRONG: dict[str, tuple[dict[str, str], int]] = {
    "the old one is wrong": ({"old_password": "a wrong password"}, 403),
    "the new one is short": ({"new_password": "short"}, 422),
    "no old one": ({"old_password": ""}, 403),
    "a name": ({"username": "bob"}, 422),
}


@pytest.mark.parametrize(("change", "status"), WRONG.values(), ids=WRONG)
async def test_a_wrong_change_of_password_changes_nothing(
    app: App, alice: str, change: dict[str, str], status: int
) -> None:
    mine, other = await app.token(alice), await app.token(alice)
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD} | change
    response = await app.ask("PUT", "/users/me/password", mine, json=body)
    assert response.status_code == status
    assert PASSWORD not in response.text
    assert len(await listed(app, other)) == 2
    assert (await app.log_in(alice)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/sessions/x"), ("PUT", "/password")],
)
async def test_all_of_this_needs_a_token(app: App, method: str, path: str) -> None:
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = await app.http.request(method, "/users/me" + path, json=body)
    assert response.status_code == 401


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/sessions/x"), ("PUT", "/password")])
async def test_a_page_of_an_allowed_origin_may_do_all_of_this(own_gateway: OwnGateway, method: str, path: str) -> None:
    async with App(own_gateway(allowed_origins=("https://app.example.com",))) as app:
        preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": method}
        response = await app.http.options("/users/me" + path, headers=preflight)
        assert response.status_code == 200
        assert method in response.headers["Access-Control-Allow-Methods"]
