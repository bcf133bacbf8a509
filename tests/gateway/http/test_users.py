"""`/users`: registration, and a user's own data."""

import asyncio
from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App


async def test_a_user_registers_and_sees_itself(app: App, alice: str) -> None:
    new = {"username": alice, "password": PASSWORD, "full_name": "Alice Ädler", "email": "alice@example.com"}
    response = await app.http.post("/users", json=new)
    assert response.status_code == 201
    user = response.json()
    assert (user["username"], user["full_name"], user["email"]) == (alice, "Alice Ädler", "alice@example.com")
    assert user["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
    assert PASSWORD not in response.text
    assert "hash" not in response.text

    headers = {"Authorization": f"Bearer {await app.token(alice)}"}
    assert (await app.http.get("/users/me", headers=headers)).json() == user


async def test_a_name_is_taken_once(app: App, alice: str) -> None:
    assert (await app.register(alice)).status_code == 201
    again = await app.register(alice, "another password")
    assert (again.status_code, again.json()["name"]) == (409, "conflict")
    assert (await app.log_in(alice)).status_code == 200
    assert (await app.log_in(alice, "another password")).status_code == 401


async def test_of_many_that_want_one_name_at_once_one_gets_it(app: App, alice: str) -> None:
    responses = await asyncio.gather(*(app.register(alice) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]


def as_typed(name: str) -> dict[str, str]:
    """A name as people and their phones write it."""
    return {
        "with a capital": name.capitalize(),
        "in capitals": name.upper(),
        "with a space after it": f"{name} ",
        "with spaces around it": f"  {name}\u00a0",
        "with a wide space": f"\u3000{name}",
        "in wide letters": "".join(chr(ord(each) + 0xFEE0) for each in name.upper()),
    }


@pytest.mark.parametrize("how", as_typed("alice"))
async def test_a_user_that_may_register_may_log_in_with_the_name_as_it_was_typed(
    app: App, alice: str, how: str
) -> None:
    typed = as_typed(alice)[how]
    registered = await app.register(typed)
    assert (registered.status_code, registered.json()["username"]) == (201, alice)
    for again in (typed, alice, *as_typed(alice).values()):
        assert (await app.log_in(again)).status_code == 200
        assert (await app.register(again)).status_code == 409  # and no second user has nearly the same name


@pytest.mark.parametrize(
    "name", ["alice\n", "al ice", "\tal\t", "аlice", "alice\u200b", "ali\u0307ce", "ⓐlice", "straße"]
)
async def test_a_name_that_only_looks_like_one_is_refused(app: App, name: str) -> None:
    assert (await app.register(name)).status_code == 422
    assert (await app.log_in(name)).status_code == 401


WRONG: dict[str, dict[str, Any]] = {
    "a name of 2": {"username": "ab"},
    "a name of 33": {"username": "x" * 33},
    "a name with a space": {"username": "al ice"},
    "a name with a slash": {"username": "al/ice"},
    "a name with a newline": {"username": "alice\n"},
    "a name that is an emoji": {"username": "😀😀😀"},
    "a name that looks like another": {"username": "аlice"},
    "a name as another service's user has": {"username": "Auth0-6553da60a-BDEB7FB81F6E6185"},
    "a name that is a number": {"username": 12345},
    "no name": {"username": None},
    "an unknown field": {"admin": True},
    "scopes of one's own": {"scopes": ["admin"]},
    "a full name of 201": {"full_name": "x" * 201},
    "an email that is none": {"email": "alice"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_wrong_registration_names_the_field(app: App, alice: str, wrong: dict[str, Any]) -> None:
    response = await app.http.post("/users", json={"username": alice, "password": PASSWORD} | wrong)
    assert response.status_code == 422
    assert [detail["field"] for detail in response.json()["details"]] == list(wrong)
    assert PASSWORD not in response.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b'{"username":NaN}', b'"' + b"x" * 9000], ids=repr
)
async def test_a_body_that_is_no_registration_is_refused(app: App, body: bytes) -> None:
    response = await app.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.json()["status"] // 100 == response.status_code


async def test_a_new_user_has_the_scopes_of_the_setting(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(default_scopes="chat:read dice:roll")) as app:
        assert (await app.register("alice")).json()["scopes"] == ["chat:read", "dice:roll"]
        assert (await app.log_in("alice")).json()["scope"] == "chat:read dice:roll"  # also if none is asked for
        assert (await app.log_in("alice", scope="chat:write")).status_code == 400


async def test_registration_can_be_closed(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registration="closed")) as app:
        response = await app.register("alice")
        assert (response.status_code, response.json()["name"]) == (403, "forbidden")
        assert "operator" in response.json()["message"]


async def test_in_production_registration_and_documentation_are_closed_unless_opened(
    own_gateway: OwnGateway,
) -> None:
    production = {
        "environment": "production",
        "secret_key": "k7Q2mZx9Lr4Vb8Wn3Tc6Yd1Hs5Jp0Gf=",
        "password_rounds": 10,
    }
    async with App(own_gateway(**production)) as app:
        assert (await app.register("alice")).status_code == 403
        for path in ("/", "/docs", "/redoc", "/openapi.json", "/console.js"):
            assert (await app.http.get(path)).status_code == 404
    async with App(own_gateway(**production, registration="open")) as app:
        assert (await app.register("alice")).status_code == 201


async def test_oneself_needs_a_token(app: App) -> None:
    response = await app.http.get("/users/me")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["status"] == 40001
