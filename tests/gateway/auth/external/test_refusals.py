"""Why a token was refused: the operator learns it, and the client does not."""

import json
import logging
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.refusals import NotedRefusals, Refusals, noted
from gateway.auth.external.token_checks import TokenChecks
from gateway.auth.external.users import ServiceUnavailable, bad_token
from gateway.auth.keys.signatures import BadToken
from gateway.config.external_services import Issuer
from gateway.core.audit import Audit
from handlers.errors import AuthenticationFailed, TokenExpired, TokenRevoked
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import ec_signer, hmac_signer
from tests.support.client import App
from tests.support.issuer import FakeService, running_service
from tests.support.waiting import until

NOT_VALID = "the token is not valid for this service; log in there for a new one"
NOW = 1_800_000_000.0
HINT = "Zq9secretZq9"
"""Part of what only the client has chosen."""

first = ec_signer("first")


def issuer(**described: Any) -> Issuer:
    required = {"issuer": "https://a.example", "audience": "chat", "jwks_url": "https://a.example/keys"}
    return Issuer(**({name: value for name, value in (required | described).items() if value is not ...}))


WRONG_HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"alg": "ES256", "crit": [HINT]}, "a header with `crit`"),
    ({"alg": "ES256", "zip": HINT, "b64": False}, "a header with `b64`"),
    ({}, "an algorithm `alg` other than RS256, ES256"),
    ({"alg": HINT}, "an algorithm `alg` other than RS256, ES256"),
    ({"alg": [HINT]}, "an algorithm `alg` other than RS256, ES256"),
    ({"alg": "ES256", "typ": HINT}, "a type `typ` other than at+jwt, JWT"),
    ({"alg": "ES256", "typ": 7}, "a type `typ` other than at+jwt, JWT"),
    ({"alg": "ES256", "kid": 7}, "a key's name `kid` that is no text of at most 256 characters"),
    ({"alg": "ES256", "kid": HINT * 99}, "a key's name `kid` that is no text of at most 256 characters"),
]


def check_header(header: dict[str, Any]) -> None:
    checks = TokenChecks(issuer())
    for check in (checks.check_header, checks.check_algorithm, checks.check_type, checks.key_name):
        check(header)


@pytest.mark.parametrize(("header", "reason"), WRONG_HEADERS)
def test_a_header_is_refused_for_a_reason(header: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadToken) as refused:
        check_header(header)
    assert refused.value.reason == reason


CLIENTS = {"audience": ..., "client_ids": ["web", "phone"]}

REQUIRED = {"required_claims": {"use": "access", "sts": ["active", None], "guest": [False, None]}}
UNVERIFIED = "an `email` as the subject without `email_verified: true`"

WRONG_CLAIMS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"sub": ...}, "no claim `sub`"),
    ({"subject_claim": "uid"}, {}, "no claim `uid`"),
    ({"subject_claim": "uid"}, {"uid": 7}, "a claim `uid` of another form"),
    ({"subject_claim": "email"}, {"email": "carol@example.com"}, UNVERIFIED),
    ({"subject_claim": "email"}, {"email": "carol@example.com", "email_verified": False}, UNVERIFIED),
    ({"subject_claim": "email"}, {"email": "carol@example.com", "email_verified": [True]}, UNVERIFIED),
    ({"subject_claim": "email"}, {"email": "c@a.example", "email_verified": True, "emailVerified": False}, UNVERIFIED),
    ({}, {"exp": HINT}, "a claim `exp` of another form"),
    ({}, {"exp": 10**18}, "a claim `exp` of another form"),
    ({}, {"aud": [[HINT]]}, "a claim `aud` of another form"),
    ({}, {"iss": HINT}, "another issuer `iss` than https://a.example"),
    ({}, {"aud": ...}, "no audience, and no client_ids set"),
    ({"client_ids": ["web"]}, {"aud": ..., "azp": "web"}, "no audience"),
    ({}, {"aud": HINT}, "another audience `aud` than chat"),
    ({}, {"aud": [HINT, "chats"]}, "another audience `aud` than chat"),
    (CLIENTS, {}, "no client: it has neither of azp, client_id, cid"),
    (CLIENTS, {"azp": HINT, "client_id": "web"}, "another client `azp` than those of client_ids"),
    (CLIENTS, {"client_id": HINT}, "another client `client_id` than those of client_ids"),
    (CLIENTS, {"cid": ["web"]}, "another client `cid` than those of client_ids"),
    (CLIENTS, {"azp": None, "cid": "web"}, "another client `azp` than those of client_ids"),
    (REQUIRED, {}, "a claim `use` other than access"),
    (REQUIRED, {"use": [HINT]}, "a claim `use` other than access"),
    (REQUIRED, {"use": "access", "sts": HINT}, "a claim `sts` other than active or none"),
    (REQUIRED, {"use": "access", "guest": 0}, "a claim `guest` other than false or none"),
    ({}, {"nbf": NOW + 60}, "not good yet, by `nbf` or `iat`; compare the clocks"),
    ({}, {"iat": NOW + 60}, "not good yet, by `nbf` or `iat`; compare the clocks"),
]


def check_all(described: Issuer, claims: dict[str, Any]) -> None:
    checks = TokenChecks(described)
    good = {"iss": "https://a.example", "sub": "7", "aud": "chat", "exp": NOW + 60}
    claims = {name: value for name, value in (good | claims).items() if value is not ...}
    read = checks.read_claims(claims)
    for check in (checks.check_issuer, checks.check_audience, checks.check_client, checks.check_required):
        check(claims)
    checks.check_times(read, NOW)


@pytest.mark.parametrize(("described", "claims", "reason"), WRONG_CLAIMS)
def test_a_claim_is_refused_for_a_reason(described: dict[str, Any], claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadToken) as refused:
        check_all(issuer(**described), claims)
    assert refused.value.reason == reason


def test_a_good_token_passes_every_check() -> None:
    check_all(issuer(), {"aud": ["other", "chat"], "azp": HINT})
    for claim in ("azp", "client_id", "cid"):
        check_all(issuer(**CLIENTS), {claim: "phone", "aud": HINT})
    check_all(issuer(client_ids=["web"]), {"azp": "web"})
    check_all(issuer(**REQUIRED), {"use": "access", "sts": "active"})
    check_all(issuer(**REQUIRED), {"use": "access", "sts": None, "guest": False})
    for verified in ({"email_verified": True}, {"email_verified": "true"}, {"emailVerified": True}):
        check_all(issuer(subject_claim="email"), {"email": "carol@example.com"} | verified)
    with pytest.raises(TokenExpired):
        check_all(issuer(), {"exp": NOW})


class Stopped:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def wall(self) -> float:
        return NOW

    def steady(self) -> float:
        return self.now


def test_a_flood_of_refusals_is_one_line_a_second_for_each_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, counts = Stopped(), Counter[tuple[str, str]]()
    with Audit(tmp_path / "audit.log", clock) as audit:
        flooded, other = Refusals("clerk", audit, clock, counts), Refusals("acme", audit, clock, counts)
        for _ in range(1000):
            flooded.note("no audience, and no client_ids set", "audience")
        other.note("a wrong signature", "signature")
        clock.now += 1
        flooded.note("a wrong signature", "signature")
        flooded.note("it has expired", "expired")
        flooded.close()
        other.close()
    assert counts["clerk", "audience"] == 1000
    assert caplog.messages == [
        "refused a token of clerk: no audience, and no client_ids set",
        "refused a token of acme: a wrong signature",
        "refused a token of clerk: a wrong signature (and left out 999 more lines before this one)",
        "left out 1 more lines about refused tokens of clerk",
    ]
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [(line["event"], line["service"], line["reason"], line.get("left_out")) for line in lines] == [
        ("token_refused", "clerk", "no audience, and no client_ids set", None),
        ("token_refused", "acme", "a wrong signature", None),
        ("token_refused", "clerk", "a wrong signature", 999),
    ]


class Refusing:
    """Raises what a test has prepared."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def authorize(self, token: str) -> AuthResult:
        """Refuse every token."""
        raise self.error


REFUSALS = [
    (bad_token("another audience `aud` than chat", "audience"), logging.WARNING, "another audience `aud` than chat"),
    (TokenExpired(HINT), logging.INFO, "it has expired"),
    (TokenRevoked(HINT), logging.WARNING, "its user is disabled here, or it was revoked"),
    (AuthenticationFailed(HINT), logging.WARNING, "the application's own check refused it"),
]


@pytest.mark.parametrize(("error", "level", "reason"), REFUSALS)
async def test_each_kind_of_refusal_has_a_line_without_words_of_the_client(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    with Audit(None, Stopped()) as audit, noted({"mine": Refusing(error)}, audit, Stopped(), Counter()) as authorizers:
        with pytest.raises(type(error)):
            await authorizers["mine"].authorize("token")
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (level, f"refused a token of mine: {reason}")
    ]


async def test_a_service_that_cannot_be_asked_refuses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with Audit(None, Stopped()) as audit:
        refusing = NotedRefusals(Refusing(ServiceUnavailable("mine")), Refusals("mine", audit, Stopped(), Counter()))
        with pytest.raises(ServiceUnavailable):
            await refusing.authorize("token")
    assert caplog.messages == []


def _refused_tokens(service: FakeService) -> dict[str, str]:
    """Bad tokens by the reason that the log shows."""
    mine = ec_signer("first")
    return {
        "over 4096 characters": "x" * 4097,
        "not three parts of base64url": "a.b",
        "a type `typ` other than at+jwt, JWT": first.sign(service.claims(), typ=HINT),
        "an algorithm `alg` other than RS256, ES256": hmac_signer("first", b"k" * 32).sign(service.claims(), typ="JWT"),
        "a key's name `kid` that the issuer does not have": service.token(ec_signer(HINT)),
        "a wrong signature": service.token(mine),
        f"another issuer `iss` than {service.url}": service.token(first, iss=HINT),
        "no audience, and no client_ids set": service.token(first, aud=...),
        "another audience `aud` than chat": service.token(first, aud=HINT),
        "no claim `sub`": service.token(first, sub=...),
        "not good yet, by `nbf` or `iat`; compare the clocks": service.token(first, iat=int(time.time()) + 10**6),
        "it has expired": service.token(first, exp=int(time.time()) - 60),
        "no user name in the claim `preferred_username`": service.token(first, preferred_username=...),
    }


async def test_the_operator_learns_which_check_failed_and_the_client_does_not(
    own_gateway: OwnGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "refusals.log"
    with running_service() as service:
        service.keys = [first.jwk()]
        trusted = {"issuer": service.url, "audience": "chat", "jwks_url": f"{service.url}/keys"}
        gateway = own_gateway(issuers={"clerk": trusted}, audit_log=str(path))
        tokens = _refused_tokens(service)
        async with App(gateway) as app:
            for number, (reason, token) in enumerate(tokens.items(), 1):
                gateway.clock.ahead = 2.0 * number
                caplog.clear()
                answer = await app.ask("POST", "/ws/ticket?service=clerk", token)
                assert answer.status_code == 401, reason
                assert f"refused a token of clerk: {reason}" in caplog.messages
                assert HINT not in caplog.text
                assert token not in caplog.text
                if not re.search("expired|user name", reason):
                    assert answer.json()["message"] == NOT_VALID
            await until(lambda: len(path.read_text().splitlines()) >= len(tokens))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    refused = [line for line in lines if line["event"] == "token_refused"]
    assert [line["reason"] for line in refused] == list(tokens)
    assert {line["address"] for line in refused} == {"127.0.0.1"}
    assert HINT not in path.read_text()
