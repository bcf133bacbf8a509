"""Tokens: only the gateway's own are good. Others are refused without a reason, and break nothing."""

import base64
import json
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.auth.tokens import Tokens, WrongToken
from gateway.config.settings import MAX_TOKEN_MINUTES
from gateway.store.tables import users as users_table
from gateway.testing import Gateway, MovableClock
from handlers.errors import AuthenticationFailed
from tests.gateway.auth.forging import ALGORITHMS, attacks, claims_of, good_claims, signer_of
from tests.support.client import App


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    """Each algorithm that the gateway signs with."""
    found: str = request.param
    return found


@pytest.fixture
def tokens(algorithm: str) -> Tokens:
    return Tokens(signer_of(algorithm).ring(), "json-gateway", "json-gateway", 900, MovableClock())


def test_an_issued_token_has_every_claim_and_names_its_type_and_its_key(tokens: Tokens, algorithm: str) -> None:
    token = tokens.issue("user-1", frozenset({"b", "a"}), session_id="session-1")
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == signer_of(algorithm).header == {"alg": algorithm, "typ": "at+jwt", "kid": header["kid"]}
    claims = tokens.verify(token)
    assert (claims.sub, claims.scope, claims.exp - claims.iat) == ("user-1", "a b", 900)
    assert claims.model_fields_set == {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "scope"}


def test_a_token_of_our_own_making_passes_so_that_the_attacks_mean_something(tokens: Tokens, algorithm: str) -> None:
    assert tokens.verify(signer_of(algorithm).sign(good_claims())).sub == "somebody"


def test_a_token_without_a_kid_is_one_of_the_secret_and_of_no_other_key(tokens: Tokens) -> None:
    assert tokens.verify(signer_of("HS256").sign(good_claims(), kid=...)).sub == "somebody"


def test_every_forged_token_is_refused_with_the_same_words(tokens: Tokens, algorithm: str) -> None:
    for attack, token in attacks(signer_of(algorithm)).items():
        with pytest.raises(AuthenticationFailed) as refused:
            tokens.verify(token)
        assert type(refused.value) is WrongToken, attack
        assert str(refused.value) == "the token is not valid; log in for a new one", attack


def test_no_token_lasts_longer_than_the_settings_allow(tokens: Tokens) -> None:
    longest = replace(tokens, lifetime_seconds=MAX_TOKEN_MINUTES * 60)
    assert tokens.verify(longest.issue("user-1", frozenset(), session_id="session-1")).sub == "user-1"
    longer = replace(tokens, lifetime_seconds=MAX_TOKEN_MINUTES * 60 + 1)
    with pytest.raises(AuthenticationFailed, match="the token is not valid"):
        tokens.verify(longer.issue("user-1", frozenset(), session_id="session-1"))


def test_an_expired_token_is_told_apart_since_its_owner_should_know(tokens: Tokens) -> None:
    token = tokens.issue("user-1", frozenset(), session_id="session-1")
    assert isinstance(tokens.clock, MovableClock)
    tokens.clock.ahead = 901
    with pytest.raises(AuthenticationFailed, match="expired"):
        tokens.verify(token)


def test_a_token_has_one_form_only(tokens: Tokens) -> None:
    token = tokens.issue("user-1", frozenset(), session_id="session-1")
    head, _, signature = token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    unused = {2: 16, 3: 4}[len(signature) % 4]  # 64 and 256 bytes leave 4 bits of the last letter unused, 32 leave 2
    last = alphabet.index(signature[-1])
    for loose in range(last - last % unused, last - last % unused + unused):
        if loose != last:
            with pytest.raises(AuthenticationFailed):
                tokens.verify(f"{head}.{signature[:-1]}{alphabet[loose]}")


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_of_a_token_passes_or_crashes(tokens: Tokens, data: st.DataObject) -> None:
    token = tokens.issue("user-1", frozenset({"chat:read"}), session_id="session-1")
    position = data.draw(st.integers(0, len(token) - 1))
    length = data.draw(st.integers(0, 3))
    mutated = token[:position] + data.draw(st.text(max_size=3)) + token[position + length :]
    if mutated != token:
        with pytest.raises(AuthenticationFailed):
            tokens.verify(mutated)


def signed_again(gateway: Gateway, token: str, **changes: object) -> str:
    """Sign a token's claims again, with changes, and with the gateway's own key."""
    return gateway.state.tokens.keys.signing_key(time.time()).sign(claims_of(token) | changes, "at+jwt")


async def test_an_expired_token_is_refused_as_expired(app: App, alice: str) -> None:
    now = int(time.time())
    token = signed_again(app.gateway, await app.token(alice), exp=now - 1, iat=now - 900, nbf=now - 900)
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["status"]) == (401, 40101)
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", status=40101, name="token_expired")
        await client.expect("bye", code=1008, reason="token_expired")
        await client.expect_close(1008, "token_expired")


@pytest.mark.parametrize("fate", ["disabled", "deleted"])
async def test_the_token_of_a_removed_user_is_refused(app: App, alice: str, fate: str) -> None:
    token = await app.token(alice)

    def end_user(connection: Connection) -> None:
        mine = users_table.c.name == alice
        change = users_table.update().values(disabled=True) if fate == "disabled" else users_table.delete()
        connection.execute(change.where(mine))

    await app.gateway.run(app.gateway.state.database.transact(end_user))
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["name"]) == (401, "token_revoked")
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", status=40102, name="token_revoked")
        await client.expect("bye", code=1008, reason="token_revoked", reconnect="new_credential")
        await client.expect_close(1008, "token_revoked")
    assert (await app.log_in(alice)).status_code == 401


async def test_a_scope_that_was_taken_from_the_user_is_gone_from_the_token_too(app: App, alice: str) -> None:
    token = signed_again(app.gateway, await app.token(alice), scope="chat:read admin")
    async with app.socket(f"?token={token}") as client:
        assert (await client.expect("welcome"))["scopes"] == ["chat:read"]
