"""Tokens: only ours open a door, and the others are told nothing and break nothing."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jose import jws

from gateway.auth.tokens import Claims, Tokens
from gateway.store.tables import users as users_table
from handlers.errors import AuthenticationFailed
from tests.client import App
from tests.server import AdjustableClock

KEY = "k" * 40 + "0123456789"
HEADER = {"alg": "HS256", "typ": "at+jwt"}


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(key: str, header: Any = HEADER, claims: Any = None) -> str:
    """Sign whatever it is with HMAC-SHA-256, correctly: what is wrong is then in the header or the claims."""
    signing_input = f"{encode(header)}.{encode(claims)}"
    signature = hmac.new(key.encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{encode(signature)}"


def good_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "json-gateway",
        "sub": "somebody",
        "aud": "json-gateway",
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "jti": "token-1",
        "sid": "session-1",
        "scope": "chat:read",
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(KEY, "json-gateway", "json-gateway", 900, AdjustableClock())


def test_an_issued_token_has_every_claim_and_is_of_the_type_of_access_tokens(tokens: Tokens) -> None:
    token = tokens.issue("user-1", frozenset({"b", "a"}), session_id="session-1")
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == HEADER
    claims = tokens.verify(token)
    assert (claims.sub, claims.scope, claims.exp - claims.iat) == ("user-1", "a b", 900)
    assert set(Claims.model_fields) == {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "scope"}


def test_a_token_of_our_own_making_passes_so_that_the_attacks_below_mean_something(tokens: Tokens) -> None:
    assert tokens.verify(signed(KEY, HEADER, good_claims())).sub == "somebody"


ALGORITHMS: list[Any] = ["none", "None", "NONE", "nOnE", "", None, 0, [], {}, "HS384", "RS256", "ES256"]

WRONG_CLAIMS: dict[str, list[Any]] = {
    "exp": ["4000000000", 4e9, True, None, [], {}, -1, 10**18],
    "iat": ["1", None, 0, int(time.time()) + 3600],
    "nbf": ["1", None, int(time.time()) + 3600],
    "sub": [1, [], None, "", "x" * 129],
    "aud": ["another", ["json-gateway"], None, 1],
    "iss": ["another", ["json-gateway"], None],
    "jti": [1, None, ""],
    "sid": [1, None, ""],
    "scope": [["admin"], None, 1, "x" * 1025],
}

FORGED: dict[str, str] = {
    "empty": "",
    "one dot": "a.b",
    "only dots": "..",
    "four parts": signed(KEY, claims=good_claims()) + ".x",
    "five parts": "a.b.c.d.e",
    "10 MB": "a" * 10_000_000,
    "4,097 characters": signed(KEY, claims=good_claims(scope="x" * 3000)).ljust(4097, "a"),
    "not ASCII": "ä.ö.ü",
    "NUL": signed(KEY, claims=good_claims()) + "\0",
    "a newline": signed(KEY, claims=good_claims()) + "\n",
    "padding": signed(KEY, claims=good_claims()) + "=",
    "the standard alphabet": "eyJ+.eyJ/.AA",
    "another key": signed("another key, as long as it has to be", claims=good_claims()),
    "no signature": signed(KEY, claims=good_claims()).rpartition(".")[0] + ".",
    "a null signature": signed(KEY, claims=good_claims()).rpartition(".")[0] + "." + encode(b"\0" * 32),
    "a signature cut short": signed(KEY, claims=good_claims())[:-3],
    "the header of another": (
        encode({"alg": "HS256", "typ": "JWT"}) + "." + signed(KEY, claims=good_claims()).partition(".")[2]
    ),
    **{f"alg {alg!r}": (f"{encode({'alg': alg, 'typ': 'at+jwt'})}.{encode(good_claims())}.AA") for alg in ALGORITHMS},
    **{
        f"header with {name}": signed(KEY, HEADER | {name: value}, good_claims())
        for name, value in {  # an HMAC over each of them is right
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "cty": "JWT",
            "jwk": {"kty": "oct", "k": "AA"},
            "jku": "http://127.0.0.1:1/keys",
            "x5u": "http://127.0.0.1:1/key",
            "kid": "../../../../dev/null",
        }.items()
    },
    "typ JWT": signed(KEY, {"alg": "HS256", "typ": "JWT"}, good_claims()),
    "no typ": signed(KEY, {"alg": "HS256"}, good_claims()),
    "duplicate alg": signed(KEY, b'{"alg":"HS256","alg":"HS256","typ":"at+jwt"}', good_claims()),
    "header an array": signed(KEY, [], good_claims()),
    "header not UTF-8": signed(KEY, b"\xff\xfe", good_claims()),
    **{f"header {depth} levels deep": signed(KEY, b"[" * depth, good_claims()) for depth in (300, 900, 990, 2000)},
    **{f"payload {depth} levels deep": signed(KEY, HEADER, b"[" * depth + b"]" * depth) for depth in (300, 900, 990)},
    **{
        f"payload {payload!r}": signed(KEY, HEADER, payload)
        for payload in (b"", b"[]", b'"a"', b"null", b"7", b"\xff", b"{", b"{}")
    },
    "duplicate sub": signed(KEY, HEADER, json.dumps(good_claims()).replace("{", '{"sub":"me",', 1).encode()),
    **{f"no {name}": signed(KEY, HEADER, good_claims(**{name: ...})) for name in Claims.model_fields},
    **{
        f"{name} {value!r}": signed(KEY, HEADER, good_claims(**{name: value}))
        for name, values in WRONG_CLAIMS.items()
        for value in values
    },
    **{
        f"exp {literal}": signed(KEY, HEADER, json.dumps(good_claims(exp=12345)).replace("12345", literal).encode())
        for literal in ("NaN", "Infinity", "1e400", "1" * 400, "1" * 2000)
    },
    "a life of 25 hours": signed(KEY, HEADER, good_claims(exp=int(time.time()) + 25 * 3600)),
    "a lone surrogate in sub": signed(
        KEY, HEADER, json.dumps(good_claims(sub="S")).replace('"S"', '"\\ud800"').encode()
    ),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_refused_with_the_same_words(tokens: Tokens, token: str) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        tokens.verify(token)
    assert type(refused.value) is AuthenticationFailed
    assert str(refused.value) == "the token is not valid; log in for a new one"


def test_an_expired_token_is_told_apart_since_its_owner_should_know(tokens: Tokens) -> None:
    token = tokens.issue("user-1", frozenset(), session_id="session-1")
    assert isinstance(tokens.clock, AdjustableClock)
    tokens.clock.ahead = 901
    with pytest.raises(AuthenticationFailed, match="expired"):
        tokens.verify(token)


def test_a_token_has_one_form_only(tokens: Tokens) -> None:
    token = tokens.issue("user-1", frozenset(), session_id="session-1")
    head, _, signature = token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    for loose in range(last - last % 4, last - last % 4 + 4):  # 32 bytes leave 2 bits of the last letter unused
        if loose != last:
            with pytest.raises(AuthenticationFailed):
                tokens.verify(f"{head}.{signature[:-1]}{alphabet[loose]}")


@given(st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_of_a_token_passes_or_crashes(tokens: Tokens, data: st.DataObject) -> None:
    token = tokens.issue("user-1", frozenset({"chat:read"}), session_id="session-1")
    position = data.draw(st.integers(0, len(token) - 1))
    length = data.draw(st.integers(0, 3))
    mutated = token[:position] + data.draw(st.text(max_size=3)) + token[position + length :]
    if mutated != token:
        with pytest.raises(AuthenticationFailed):
            tokens.verify(mutated)


OVER_THE_WIRE = ["another key", "alg 'none'", "no sub", "payload 990 levels deep", "header 990 levels deep", "exp NaN"]


@pytest.mark.parametrize("attack", OVER_THE_WIRE)
async def test_a_forged_token_opens_neither_the_api_nor_the_socket(app: App, attack: str) -> None:
    token = FORGED[attack]
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["name"] == "authentication_failed"
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", id=None, status=40001, name="authentication_failed")
        await client.expect("bye", code=1008, reason="authentication_failed", reconnect="new_credential")
        await client.expect_close(1008, "authentication_failed")


async def claims_of(app: App, name: str, **changes: Any) -> dict[str, Any]:
    """The claims of a good token of this user, with some of them changed."""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode((await app.token(name)).split(".")[1] + "=="))
    return claims | changes


async def test_an_expired_token_is_refused_as_expired(app: App, alice: str) -> None:
    now = int(time.time())
    claims = await claims_of(app, alice, exp=now - 1, iat=now - 900, nbf=now - 900)
    token = str(jws.sign(claims, app.gateway.services.tokens.key, headers={"typ": "at+jwt"}))
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["status"]) == (401, 40101)
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", status=40101, name="token_expired")
        await client.expect("bye", code=1008, reason="token_expired")
        await client.expect_close(1008, "token_expired")


@pytest.mark.parametrize("fate", ["disabled", "deleted"])
async def test_the_token_of_a_user_who_is_gone_is_refused(app: App, alice: str, fate: str) -> None:
    token = await app.token(alice)

    async def end_user() -> None:
        mine = users_table.c.name == alice
        change = users_table.update().values(disabled=True) if fate == "disabled" else users_table.delete()
        async with app.gateway.services.database.write() as connection:
            await connection.execute(change.where(mine))

    await app.gateway.run(end_user())
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["name"]) == (401, "token_revoked")
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", status=40102, name="token_revoked")
        await client.expect("bye", code=1008, reason="token_revoked", reconnect="new_credential")
        await client.expect_close(1008, "token_revoked")
    assert (await app.log_in(alice)).status_code == 401


async def test_a_scope_that_was_taken_from_the_user_is_gone_from_the_token_too(app: App, alice: str) -> None:
    claims = await claims_of(app, alice, scope="chat:read admin")
    token = str(jws.sign(claims, app.gateway.services.tokens.key, headers={"typ": "at+jwt"}))
    async with app.socket(f"?token={token}") as client:
        assert (await client.expect("welcome"))["scopes"] == ["chat:read"]
