"""Presets of providers: few keys are enough, and the operator's own keys win."""

import json
from typing import Any

import pytest

from gateway.config.external_services import Issuer
from gateway.config.issuer_presets import PRESET_NAMES, PRESETS
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError

ANYWHERE = {"issuer": "https://login.example.com/tenant/", "jwks_url": "https://login.example.com/keys"}


def test_the_table_has_every_preset_and_only_keys_of_an_issuer() -> None:
    assert tuple(PRESETS) == PRESET_NAMES
    for preset in PRESETS.values():
        assert preset.keys() <= Issuer.model_fields.keys()


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_fills_in_what_the_operator_has_left_out(name: str) -> None:
    issuer = Issuer.model_validate(ANYWHERE | {"preset": name, "client_ids": ["web"]})
    plain = Issuer.model_validate(ANYWHERE | {"client_ids": ["web"]})
    assert issuer.jwks_url == ANYWHERE["jwks_url"]
    assert issuer != plain
    assert {issuer.user_claim, issuer.scope_claim} != {plain.user_claim, plain.scope_claim}


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_what_the_operator_has_set_wins(name: str) -> None:
    own: dict[str, Any] = {
        "audience": "mine",
        "algorithms": ("ES512",),
        "token_types": ("mine+jwt",),
        "user_claim": None,
        "scope_claim": ("mine", "scopes"),
    }
    issuer = Issuer.model_validate(ANYWHERE | own | {"preset": name})
    assert {key: getattr(issuer, key) for key in own} == own


def test_values_are_made_of_the_issuer_and_the_client() -> None:
    firebase = Issuer.model_validate({"preset": "firebase", "issuer": "https://securetoken.google.com/shop-1234"})
    assert firebase.audience == "shop-1234"
    assert firebase.jwks_url is not None
    better = Issuer.model_validate({"preset": "better-auth", "issuer": "https://app.example.com"})
    assert (better.audience, better.jwks_url) == ("https://app.example.com", "https://app.example.com/api/auth/jwks")
    workos = Issuer.model_validate(
        {
            "preset": "workos",
            "issuer": "https://api.workos.com/user_management/client_01",
            "client_ids": ["client_01", "client_02"],
        }
    )
    assert workos.jwks_url == "https://api.workos.com/sso/jwks/client_01"


def test_a_secret_takes_the_place_of_public_keys() -> None:
    url = "https://abcdefghijkl.supabase.co/auth/v1"
    public = Issuer.model_validate({"preset": "supabase", "issuer": url})
    assert public.jwks_url == f"{url}/.well-known/jwks.json"
    shared = Issuer.model_validate({"preset": "supabase", "issuer": url, "secret": "q8Zr2-" * 8})
    assert (shared.jwks_url, shared.algorithms, shared.audience) == (None, ("HS256",), "authenticated")


WRONG = [
    ({"preset": "facebook"}, "acme.preset: Input should be 'auth0'"),
    ({"preset": ["auth0"]}, "acme.preset: Input should be 'auth0'"),
    ({"preset": "clerk"}, "expected audience or client_ids"),
    ({"preset": "clerk", "client_ids": []}, "acme.client_ids: Tuple should have at least 1 item"),
    ({"preset": "workos", "client_ids": [7]}, "acme.client_ids.0: Input should be a valid string"),
    ({"preset": "supabase", "issuer": 7}, "acme.issuer: Input should be a valid string"),
]


@pytest.mark.parametrize(("described", "problem"), WRONG)
def test_a_wrong_preset_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, described: dict[str, Any], problem: str
) -> None:
    monkeypatch.setenv("GATEWAY_ISSUERS", json.dumps({"acme": ANYWHERE | described}))
    with pytest.raises(StartError) as refused:
        load_settings()
    assert problem in str(refused.value)
