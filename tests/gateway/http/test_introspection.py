"""`POST /token/introspect` describes a token to another service (RFC 7662)."""

import time
from typing import Any

import httpx2
import pytest

from tests.gateway.auth.forging import claims_of
from tests.support.client import App
from tests.support.services import add_service


@pytest.fixture
async def service(app: App, bob: str) -> str:
    """The key of a service."""
    return await add_service(app.gateway, bob, "server")


async def ask(app: App, service: str, token: str) -> dict[str, Any]:
    response = await app.ask("POST", "/token/introspect", service, data={"token": token})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = response.json()
    return found


async def test_a_service_learns_what_an_access_token_stands_for(app: App, alice: str, service: str) -> None:
    token = await app.token(alice)
    me = (await app.ask("GET", "/users/me", token)).json()
    found = await ask(app, service, token)
    assert (found["active"], found["username"], found["sub"]) == (True, alice, me["id"])
    assert found["scope"] == "chat:read chat:write rooms:manage"
    assert found["token_type"] == "bearer"
    assert found["exp"] - found["iat"] == 900
    assert {"sid", "jti", "iss", "aud", "nbf"} <= found.keys()


async def test_a_service_learns_in_which_rooms_a_token_counts(app: App, alice: str, service: str) -> None:
    token = await app.token(alice)
    assert "rooms" not in await ask(app, service, token)
    claims = claims_of(token) | {"rooms": {"team-*": ["send", "join"]}}
    limited = app.gateway.state.tokens.keys.signing_key(time.time()).sign(claims, "at+jwt")
    assert (await ask(app, service, limited))["rooms"] == {"team-*": ["join", "send"]}
    unreadable = app.gateway.state.tokens.keys.signing_key(time.time()).sign(claims | {"rooms": ["**"]}, "at+jwt")
    assert (await ask(app, service, unreadable))["rooms"] == {}


async def test_a_service_learns_what_a_refresh_token_stands_for_and_does_not_spend_it(
    app: App, alice: str, service: str
) -> None:
    grant = await app.grant(alice)
    found = await ask(app, service, grant["refresh_token"])
    assert (found["active"], found["username"], found["token_type"]) == (True, alice, "refresh_token")
    renewed = (await app.refresh(grant["refresh_token"])).json()
    assert await ask(app, service, grant["refresh_token"]) == {"active": False}
    assert (await ask(app, service, renewed["refresh_token"]))["active"]


async def test_of_a_token_that_does_not_hold_nothing_else_is_told(app: App, alice: str, service: str) -> None:
    grant = await app.grant(alice)
    await app.http.post("/token/revoke", data={"token": grant["access_token"]})
    for token in (*(grant[kind] for kind in ("access_token", "refresh_token")), "x", "gwr_" + "a" * 65, "a.b.c"):
        assert await ask(app, service, token) == {"active": False}


async def test_only_a_service_with_the_scope_may_ask(app: App, alice: str, service: str) -> None:
    token = await app.token(alice)
    lacks_it = await add_service(app.gateway, f"other-{alice}", "api:publish")
    for credential, words in ((token, "services"), (lacks_it, "`server`")):
        refused = await app.ask("POST", "/token/introspect", credential, data={"token": token})
        assert (refused.status_code, refused.json()["name"]) == (403, "forbidden")
        assert words in refused.json()["message"]
    nobody: httpx2.Response = await app.http.post("/token/introspect", data={"token": token})
    assert nobody.status_code == 401
