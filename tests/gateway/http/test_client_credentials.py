"""`POST /token` with `grant_type=client_credentials`: a service buys a token with its key (RFC 6749 §4.4)."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote_plus

import httpx2
import pytest

from gateway.auth import service_keys
from tests.support.client import App
from tests.support.services import add_service


async def buy(app: App, name: str, key: str, **form: str) -> httpx2.Response:
    return await app.http.post(
        "/token",
        data={"grant_type": "client_credentials", "client_id": name, "client_secret": key, **form},
    )


def basic(name: str, key: str) -> dict[str, str]:
    # RFC 6749 §2.3.1: both parts are encoded as in a form.
    pair = f"{quote_plus(name)}:{quote_plus(key)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


async def test_a_key_buys_a_token_of_fifteen_minutes_in_the_form_or_as_basic(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server", "api:publish")
    in_form = await buy(app, alice, key)
    in_header = await app.http.post("/token", data={"grant_type": "client_credentials"}, headers=basic(alice, key))
    for answer in (in_form, in_header):
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        granted = answer.json()
        assert granted.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (granted["token_type"], granted["expires_in"]) == ("bearer", 900)
        assert granted["scope"] == "api:publish server"
        claims = claims_of(granted["access_token"])
        assert claims["exp"] - claims["iat"] == 900
        parsed = service_keys.parse(key)
        assert parsed is not None
        assert claims["sid"] == parsed.id
        assert parsed.secret not in answer.text


async def test_the_token_stands_for_the_service_with_the_scopes_that_it_asked_for(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server", "api:publish")
    narrow = (await buy(app, alice, key, scope="api:publish")).json()["access_token"]
    wide = (await buy(app, alice, key)).json()["access_token"]
    asked = await app.ask("POST", "/token/introspect", narrow, data={"token": wide})
    assert (asked.status_code, asked.json()["name"]) == (403, "forbidden")
    assert "`server`" in asked.json()["message"]
    found = (await app.ask("POST", "/token/introspect", wide, data={"token": narrow})).json()
    assert (found["active"], found["username"], found["scope"]) == (True, f"service:{alice}", "api:publish")


@pytest.mark.parametrize("scope", ["admin", "server api:rooms", "chat:read"])
async def test_no_token_has_a_scope_that_the_service_lacks(app: App, alice: str, scope: str) -> None:
    answer = await buy(app, alice, await add_service(app.gateway, alice, "server"), scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert "server" in answer.json()["message"]


async def test_wrong_credentials_are_an_invalid_client(app: App, alice: str, bob: str, room: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    others = await add_service(app.gateway, bob, "server")
    hook = await add_service(app.gateway, f"hook-{bob}", "api:publish", hook_of=room)
    form = {"grant_type": "client_credentials"}
    answers = [
        await buy(app, alice, key[:-1] + ("A" if key[-1] != "A" else "B")),
        await buy(app, bob, key),
        await buy(app, alice, others),
        await buy(app, f"hook-{bob}", hook),
        await buy(app, "", key),
        await buy(app, alice, ""),
        await app.http.post("/token", data=form),
        await app.http.post("/token", data=form | {"client_id": alice}),
        await app.http.post("/token", data=form, headers={"Authorization": f"Bearer {key}"}),
        await app.http.post("/token", data=form, headers=basic(bob, key)),
        await app.http.post("/token", data=form, headers={"Authorization": "Basic"}),
        await app.http.post("/token", data=form, headers={"Authorization": "Basic !!!"}),
        await app.http.post("/token", data=form, headers={"Authorization": "Basic " + base64.b64encode(b"x").decode()}),
        await app.http.post("/token", data=form, headers={"Authorization": "Basic /////w=="}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert key not in answer.text
        assert others not in answer.text


async def test_credentials_in_two_places_are_refused(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    form = {"grant_type": "client_credentials", "client_id": alice, "client_secret": key}
    answer = await app.http.post("/token", data=form, headers=basic(alice, key))
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_request")
    assert answer.json()["details"][0]["field"] == "client_secret"


async def test_a_token_of_a_service_acts_as_no_user(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server", "api:publish")
    token = (await buy(app, alice, key)).json()["access_token"]
    for credential in (token, key):
        for method, path in (
            ("GET", "/users/me"),
            ("GET", "/users/me/sessions"),
            ("DELETE", "/users/me/sessions"),
            ("POST", "/ws/ticket"),
            ("POST", "/ws/ticket?service=gateway"),
        ):
            refused = await app.ask(method, path, credential)
            assert (refused.status_code, refused.json()["status"]) == (403, 40300), path
            assert "service" in refused.json()["message"]
        async with app.socket(f"?token={credential}") as client:
            await client.expect("error", status=40300)
            await client.expect("bye", code=1008)
        async with app.socket() as client:
            await client.send({"type": "auth", "id": 1, "data": {"token": credential}})
            await client.expect("error", status=40300)
        async with app.connect(f"user-{alice}") as client:
            assert (await client.refused("auth.refresh", token=credential))["status"] == 40300
    for password in ("", key, token):
        assert (await app.log_in(f"service:{alice}", password)).status_code in {401, 422}
    assert (await app.register(f"service:{alice}")).status_code == 422


async def test_a_user_is_no_service(app: App, alice: str) -> None:
    refused = await app.ask("POST", "/token/introspect", await app.token(alice), data={"token": "x"})
    assert (refused.status_code, refused.json()["status"]) == (403, 40300)
    assert "gateway services add" in refused.json()["message"]


async def test_a_key_in_the_query_is_refused_even_beside_a_good_header(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    form = {"grant_type": "client_credentials"}
    bought = await app.http.post("/token", data=form, params={"client_id": alice, "client_secret": key})
    assert (bought.status_code, bought.json()["error"]) == (401, "invalid_client")
    assert "replace it now" in bought.json()["message"]
    for query in ({"token": key}, {"key": key}, {"x": key}, {key: ""}, {"authorization": f"Bearer {key}"}):
        for headers in ({}, {"Authorization": f"Bearer {key}"}):
            refused = await app.http.post("/token/introspect", data={"token": "x"}, params=query, headers=headers)
            assert (refused.status_code, refused.json()["status"]) == (401, 40001)
            assert "Authorization: Bearer" in refused.json()["message"]
            assert key not in refused.text


async def test_a_revoked_key_buys_nothing_and_ends_its_tokens_at_once(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    token = (await buy(app, alice, key)).json()["access_token"]
    assert (await app.ask("POST", "/token/introspect", key, data={"token": token})).json()["active"]
    assert (await app.http.post("/token/revoke", data={"token": key})).status_code == 200
    assert (await buy(app, alice, key)).json()["error"] == "invalid_client"
    for credential in (key, token):
        refused = await app.ask("POST", "/token/introspect", credential, data={"token": token})
        assert (refused.status_code, refused.json()["name"]) == (401, "token_revoked")
    other = await add_service(app.gateway, f"other-{alice}", "server")
    assert (await app.ask("POST", "/token/introspect", other, data={"token": token})).json() == {"active": False}


async def test_a_token_of_a_service_cannot_be_revoked_without_its_key(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    token = (await buy(app, alice, key)).json()["access_token"]
    refused = await app.http.post("/token/revoke", data={"token": token})
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_token_type")
    assert (await app.http.post("/token/revoke", data={"token": key[:-1] + "~"})).status_code == 200
    assert (await app.ask("POST", "/token/introspect", key, data={"token": token})).json()["active"]


async def test_introspection_takes_the_key_as_basic_too(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    users_token = await app.token(f"user-{alice}")
    answer = await app.http.post("/token/introspect", data={"token": users_token}, headers=basic(alice, key))
    assert answer.json()["username"] == f"user-{alice}"
    refused = await app.http.post("/token/introspect", data={"token": users_token}, headers=basic("other", key))
    assert refused.status_code == 401


async def test_many_tokens_at_once(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "server")
    answers = await asyncio.gather(*(buy(app, alice, key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["access_token"] for answer in answers}) == 20
