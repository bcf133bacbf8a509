"""Signatures, verified as a service verifies them: by the package of Standard Webhooks."""

import base64
import json
import secrets
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.routes.signatures import Signer

BODY = b'{"type":"orders.create","data":{"sku":"\xc3\xa4"}}'


def secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_service_verifies_a_request(size: int) -> None:
    mine = secret(size)
    headers = Signer.parse([mine]).headers("msg_1", time.time(), BODY)
    assert Webhook(mine).verify(BODY, headers) == json.loads(BODY)


def test_while_a_secret_rotates_services_with_either_verify_a_request() -> None:
    new, old = secret(), secret()
    headers = Signer.parse([new, old]).headers("msg_1", time.time(), BODY)
    for either in (new, old):
        Webhook(either).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret()).verify(BODY, headers)


def test_a_changed_body_id_or_time_is_refused() -> None:
    mine, now = secret(), time.time()
    headers = Signer.parse([mine]).headers("msg_1", now, BODY)
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(now) + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(mine).verify(BODY, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(mine).verify(BODY + b" ", headers)


def test_a_request_of_another_time_is_refused() -> None:
    mine = secret()
    headers = Signer.parse([mine]).headers("msg_1", time.time() - 3600, BODY)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(mine).verify(BODY, headers)


@pytest.mark.parametrize("id", ["", "a.b", "a b", "a\r\nx-admin: 1", "ä", "a" * 129, "a\n"])
def test_an_id_cannot_make_a_header_or_another_text_to_sign(id: str) -> None:
    with pytest.raises(ValueError, match="expected an id"):
        Signer.parse([secret()]).headers(id, time.time(), BODY)


WRONG = {
    "nothing": [],
    "three": [secret(), secret(), secret()],
    "an empty one": [""],
    "no prefix": [secret().removeprefix("whsec_")],
    "the prefix alone": ["whsec_"],
    "too short": [secret(23)],
    "too long": [secret(65)],
    "not base64": ["whsec_" + "*" * 44],
    "without padding": [secret().rstrip("=")],
    "base64 for URLs": ["whsec_" + base64.urlsafe_b64encode(b"\xff" * 33).decode()],
    "with a line break": [secret() + "\n"],
    "not ASCII": ["whsec_" + "ä" * 44],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_secret_is_refused_and_not_quoted(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        Signer.parse(wrong)
    assert not any(each[6:] in str(caught.value) for each in wrong if len(each) > 6)


def test_the_same_secret_twice_is_refused() -> None:
    mine = secret()
    with pytest.raises(ValueError, match="two different secrets"):
        Signer.parse([mine, mine])


def test_a_signer_shows_no_secret() -> None:
    mine = secret()
    assert repr(Signer.parse([mine])) == "Signer()"
