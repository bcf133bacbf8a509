"""Passwords: hashed well, verified in the same time, and upgraded."""

import asyncio
import json
import time
import unicodedata
from functools import partial

import pytest
from passlib.context import CryptContext
from passlib.hash import bcrypt

from gateway.auth.passwords import MAX_WAITING, HashingBusy, Passwords, check_bcrypt
from gateway.core.start_error import StartError
from gateway.store import users
from tests.support.client import PASSWORD, App

RIGHT = {
    "8 bytes": "8 bytes!",
    "72 bytes": "x" * 72,
    "73 bytes": "x" * 73,
    "1,024 bytes": "x" * 1024,
    "1,024 bytes of emoji": "😀" * 256,
    "spaces at the ends": "  secret  ",
    "a percent sign and a plus": "100%+ä&=secret",
}

WRONG = {
    "7 bytes": "1234567",
    "nothing": "",
    "1,025 bytes": "x" * 1025,
    "1,028 bytes of emoji": "😀" * 257,
    "a NUL": "secret\0secret",
    "a lone surrogate": "secret\ud800secret",
}


@pytest.mark.parametrize("password", RIGHT.values(), ids=RIGHT)
async def test_a_password_that_keeps_the_rules_works(app: App, alice: str, password: str) -> None:
    assert (await app.register(alice, password)).status_code == 201
    assert (await app.log_in(alice, password)).status_code == 200


async def test_nothing_of_a_long_password_is_cut_off(app: App, alice: str) -> None:
    await app.register(alice, "x" * 72 + "Y")
    assert (await app.log_in(alice, "x" * 72 + "Z")).status_code == 401
    assert (await app.log_in(alice, "x" * 72)).status_code == 401


def is_json_text(text: str) -> bool:
    """Whether the gateway takes this text in JSON: it refuses U+0000 and lone surrogates there."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


@pytest.mark.parametrize("password", WRONG.values(), ids=WRONG)
async def test_a_password_that_breaks_the_rules_cannot_be_registered(app: App, alice: str, password: str) -> None:
    body = json.dumps({"username": alice, "password": password})  # escapes what UTF-8 cannot write
    response = await app.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    if is_json_text(password):
        assert response.status_code == 422
        assert [detail["field"] for detail in response.json()["details"]] == ["password"]
    else:
        assert response.status_code == 400
    assert not password or password not in response.text


@pytest.mark.parametrize("name", ["alice", "nobody-at-all"])
@pytest.mark.parametrize("password", [*(WRONG[key] for key in WRONG if "surrogate" not in key), "wrong password"])
async def test_a_wrong_password_is_answered_alike_for_any_password_and_any_user(
    app: App, alice: str, name: str, password: str
) -> None:
    await app.register(alice)
    response = await app.log_in(alice if name == "alice" else name, password)
    if password == "":  # a form with an empty field says so; this too is the same for both
        assert response.status_code == 422
        return
    assert response.status_code == 401
    assert response.json() == {
        "status": 40001,
        "name": "authentication_failed",
        "message": "wrong user name or password",
        "retryable": False,
        "error": "invalid_grant",
        "error_description": "wrong user name or password",
        "detail": "wrong user name or password",
    }


async def test_a_plain_bcrypt_hash_is_accepted_and_upgraded_at_log_in(app: App, alice: str) -> None:
    database = app.gateway.state.database

    async def stored() -> str:
        user = await database.query(partial(users.by_name, name=alice))
        assert user is not None
        return user.password_hash

    hashed = bcrypt.using(rounds=4).hash("brought along")
    await app.gateway.run(database.transact(partial(users.add, name=alice, password_hash=hashed, now=0)))
    assert (await app.log_in(alice, "wrong password")).status_code == 401
    assert (await app.gateway.run(stored())).startswith("$2b$")
    assert (await app.log_in(alice, "brought along")).status_code == 200
    assert (await app.gateway.run(stored())).startswith("$bcrypt-sha256$")
    assert (await app.log_in(alice, "brought along")).status_code == 200


COMPOSED, DECOMPOSED = "Müller-Straße\u00e917", "Mu\u0308ller-Stra\u00dfee\u030117"


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED, DECOMPOSED),
        ("한국어 비밀번호", unicodedata.normalize("NFD", "한국어 비밀번호")),
        ("correct horse battery", "correct\u00a0horse\u3000battery"),
    ],
)
async def test_a_password_is_the_same_on_every_keyboard(app: App, alice: str, chosen: str, typed: str) -> None:
    token = (await app.grant(alice))["access_token"]
    change = {"old_password": PASSWORD, "new_password": chosen}
    assert (await app.ask("PUT", "/users/me/password", token, json=change)).status_code == 204
    assert (await app.log_in(alice, typed)).status_code == 200
    change = {"old_password": typed, "new_password": PASSWORD}
    assert (await app.ask("PUT", "/users/me/password", token, json=change)).status_code == 204


@pytest.mark.parametrize("other", ["MÜLLER-STRASSEÉ17", "Muller-Strassee17", "Ｍüller-Straßeé17", "Müller-Straßeé17 "])
async def test_case_width_and_accents_of_a_password_count(app: App, alice: str, other: str) -> None:
    await app.register(alice, COMPOSED)
    assert (await app.log_in(alice, other)).status_code == 401


@pytest.mark.parametrize("scheme", ["bcrypt", "bcrypt_sha256"])
async def test_a_hash_of_a_password_as_it_was_typed_still_counts_and_is_replaced(scheme: str) -> None:
    passwords = Passwords(rounds=4)
    old = CryptContext([scheme], bcrypt__rounds=4, bcrypt_sha256__rounds=4).hash(DECOMPOSED)
    right, new = await passwords.verify(DECOMPOSED, old)
    assert right
    assert new is not None
    assert await passwords.verify(COMPOSED, new) == (True, None)
    assert await passwords.verify(DECOMPOSED, new) == (True, None)
    assert await passwords.verify(DECOMPOSED + "!", old) == (False, None)
    passwords.close()


@pytest.mark.parametrize("wrong", ["wrong horse", "wro\u0308ng horse"], ids=["in one form", "in two forms"])
async def test_the_form_of_a_password_does_not_tell_whether_there_is_such_a_user(wrong: str) -> None:
    async with Passwords(rounds=8).running() as passwords:

        async def cost(stored: str | None) -> float:
            began = time.process_time()
            await passwords.verify(wrong, stored)
            return time.process_time() - began

        stored = ours("correct horse", 8)
        known = min([await cost(stored) for _ in range(5)])
        unknown = min([await cost(None) for _ in range(5)])
        assert 0.6 < unknown / known < 1.6


@pytest.mark.parametrize("hashed", ["", "nonsense", "$2b$04$short", "$1$abc$def"])
async def test_an_unknown_hash_is_a_wrong_password(hashed: str) -> None:
    passwords = Passwords(rounds=4)
    assert await passwords.verify("any password", hashed) == (False, None)
    passwords.close()


def ours(password: str, rounds: int) -> str:
    """A hash of our own kind."""
    hashed: str = CryptContext(["bcrypt_sha256"], bcrypt_sha256__rounds=rounds).hash(password)
    return hashed


@pytest.mark.parametrize(
    "hashed",
    [
        ours("correct horse", 9),
        ours("correct horse", 6),
        bcrypt.using(rounds=4).hash("correct horse"),
        bcrypt.using(rounds=8).hash("correct horse"),
    ],
    ids=["ours", "ours of before", "a cheap one brought along", "another one brought along"],
)
async def test_an_unknown_user_costs_as_much_as_a_known_one_whatever_the_hash_costs(hashed: str) -> None:
    async with Passwords(rounds=9).running() as passwords:

        async def cost(stored: str | None) -> float:
            began = time.process_time()  # of all threads, however busy the machine is
            await passwords.verify("wrong horse", stored)
            return time.process_time() - began

        known = sorted([await cost(hashed) for _ in range(5)])[0]
        unknown = sorted([await cost(None) for _ in range(5)])[0]
        # The same work: a bcrypt of 9 rounds costs some 25 ms, an answer without one would cost none of it.
        assert 0.5 < unknown / known < 2


@pytest.mark.parametrize("rounds", [4, 6])
async def test_a_hash_of_another_cost_is_replaced_at_the_next_log_in(rounds: int) -> None:
    passwords = Passwords(rounds=5)
    old = ours("correct horse", rounds)
    right, new = await passwords.verify("correct horse", old)
    assert right
    assert new is not None
    assert ",r=5$" in new
    assert await passwords.verify("correct horse", new) == (True, None)
    passwords.close()


async def test_more_hashes_than_may_wait_are_refused_at_once() -> None:
    passwords = Passwords(rounds=6)
    results = await asyncio.gather(*(passwords.hash("a password") for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, HashingBusy)]
    assert len(results) - len(refused) == passwords.capacity <= 4 + MAX_WAITING
    assert str(refused[0]) == "too many log-ins at this moment; try again shortly"
    assert (refused[0].status, refused[0].retry_after_ms) == (50300, 1000)
    passwords.close()


async def test_the_loop_stays_free_while_passwords_are_hashed() -> None:
    passwords = Passwords(rounds=10)
    hashing = asyncio.create_task(passwords.hash("a password"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    passwords.close()


def test_a_bcrypt_that_cannot_be_used_stops_the_start() -> None:
    check_bcrypt("4.3.0")
    with pytest.raises(StartError, match="expected bcrypt before version 5, got"):
        check_bcrypt("5.0.0")
