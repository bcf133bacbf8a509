"""What the gateway publishes about its tokens: public keys, and the endpoints of its authorization server."""

import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from jose import jws

from gateway.auth.keys.key_files import make_file, retire_file
from tests.conftest import OwnGateway
from tests.support.client import App


async def test_of_a_secret_nothing_is_published(app: App) -> None:
    response = await app.http.get("/.well-known/jwks.json")
    assert (response.status_code, response.json()) == (200, {"keys": []})
    assert response.headers["Cache-Control"] == "public, max-age=30"


async def test_others_can_verify_our_tokens_with_the_published_keys(own_gateway: OwnGateway, tmp_path: Path) -> None:
    now = time.time()
    folder = tmp_path / "keys"
    rsa = make_file(folder, "RS256", now - 3600)
    ec = make_file(folder, "ES256", now - 600)
    make_file(folder, "HS256", now - 1200)
    retire_file(make_file(folder, "ES256", now - 4000), until=now - 10)
    gateway = own_gateway(secret_key="0123456789abcdefghijklmnopqrstuvwxyz")
    async with App(gateway) as app:
        token = await app.token("alice")
        keys = (await app.http.get("/.well-known/jwks.json")).json()["keys"]
    assert {key["kid"]: (key["kty"], key["alg"], key["use"]) for key in keys} == {
        rsa.key.kid: ("RSA", "RS256", "sig"),
        ec.key.kid: ("EC", "ES256", "sig"),
    }
    published = {"kid", "kty", "alg", "use", "crv", "x", "y", "n", "e"}
    assert set().union(*keys) == published  # and so no `d`, `p`, `q` or `k`
    [used] = [key for key in keys if key["kid"] == ec.key.kid]
    assert b'"sub"' in jws.verify(token, used, ["ES256"])


async def test_the_metadata_is_what_there_is(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(token_issuer="https://api.example.com")) as app:
        response = await app.http.get("/.well-known/oauth-authorization-server")
        document = response.json()
        assert document["issuer"] == "https://api.example.com"
        assert document["token_endpoint"] == "https://api.example.com/token"
        assert document["jwks_uri"] == "https://api.example.com/.well-known/jwks.json"
        assert document["response_types_supported"] == []
        methods = ["none", "client_secret_basic", "client_secret_post"]
        assert document["token_endpoint_auth_methods_supported"] == methods
        assert "password" in document["grant_types_supported"]
        assert response.headers["Cache-Control"] == "public, max-age=30"

        # The document names everything that exists, and nothing else.
        for name, path in (
            ("token_endpoint", "/token"),
            ("revocation_endpoint", "/token/revoke"),
            ("introspection_endpoint", "/token/introspect"),
        ):
            there = (await app.http.post(path)).status_code != 404
            assert (name in document) == there, name
            assert document.get(name) in {None, f"https://api.example.com{path}"}
        assert not {"authorization_endpoint", "registration_endpoint"} & document.keys()
        for grant in document["grant_types_supported"]:
            refused = (await app.http.post("/token", data={"grant_type": grant})).json()
            assert "grant_type" not in str(refused.get("details")), grant
        unclaimed = await app.http.post("/token", data={"grant_type": "authorization_code"})
        assert unclaimed.json()["error"] == "unsupported_grant_type"


async def test_the_metadata_costs_no_description_of_the_api(own_gateway: OwnGateway) -> None:
    apps: list[FastAPI] = []
    async with App(own_gateway(extend=apps.append)) as app:
        metadata = (await app.http.get("/.well-known/oauth-authorization-server")).json()
        assert [each.openapi_schema for each in apps] == [None]
        document = (await app.http.get("/openapi.json")).json()
    form = document["components"]["schemas"]["Body_log_in_token_post"]["properties"]
    assert metadata["grant_types_supported"] == form["grant_type"]["enum"]


async def test_the_token_issuer_is_the_one_that_the_tokens_name(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(token_issuer="https://api.example.com")) as app:
        claims = jws.get_unverified_claims(await app.token("alice"))
        assert b'"iss":"https://api.example.com"' in claims


async def test_an_issuer_that_is_a_mere_name_leaves_the_address_to_the_request(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(root_path="/talk")
    async with App(gateway) as app:
        for path in ("/talk/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server"):
            response = await app.http.get(path)
            assert response.json()["issuer"] == "json-gateway"
            assert response.json()["token_endpoint"] == f"{gateway.url}/talk/token"
            assert response.headers["Cache-Control"] == "no-store"  # it was for this request's Host alone


@pytest.mark.parametrize("issuer", ["https://api.example.com", "https://api.example.com/talk"])
async def test_behind_a_proxy_the_endpoints_are_where_the_proxy_shows_them(
    own_gateway: OwnGateway, issuer: str
) -> None:
    async with App(own_gateway(root_path="/talk", token_issuer=issuer)) as app:
        document = (await app.http.get("/talk/.well-known/oauth-authorization-server")).json()
        assert document["issuer"] == issuer
        assert document["token_endpoint"] == "https://api.example.com/talk/token"


@pytest.mark.parametrize("path", ["/token", "/.well-known/oauth-authorization-server"])
async def test_where_users_log_in_elsewhere_there_is_no_token_endpoint(own_gateway: OwnGateway, path: str) -> None:
    gateway = own_gateway(token_endpoint="off")
    async with App(gateway) as app:
        form = {"username": "alice", "password": "correct horse"}
        response = await (app.http.post(path, data=form) if path == "/token" else app.http.get(path))
        assert (response.status_code, response.json()["name"]) == (404, "not_found")
        assert (await app.http.get("/.well-known/jwks.json")).status_code == 200
        assert (await app.register("alice")).status_code == 403
        assert "/token" not in (await app.http.get("/openapi.json")).json()["paths"]
