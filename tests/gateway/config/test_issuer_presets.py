"""Presets of providers: few keys are enough, and the operator's own keys win."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config.external_services import Issuer
from gateway.config.issuer_presets import PRESET_NAMES, PRESETS
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError

TOKENS = (Path(__file__).parents[3] / "docs/tokens.md").read_text()

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


def test_required_claims_of_the_operator_are_added_to_those_of_the_preset() -> None:
    realm = ANYWHERE | {"preset": "keycloak", "client_ids": ["web"]}
    assert Issuer.model_validate(realm).required_claims == {"typ": "Bearer"}
    for own, all_of_them in (
        ({}, {"typ": "Bearer"}),
        ({"acr": "2"}, {"typ": "Bearer", "acr": "2"}),
        ({"typ": ["Bearer", "ID"]}, {"typ": ("Bearer", "ID")}),
    ):
        assert Issuer.model_validate(realm | {"required_claims": own}).required_claims == all_of_them


ENOUGH = [
    ("auth0", {"issuer": "https://acme.auth0.com/", "audience": "https://chat.example.com"}),
    ("better-auth", {"issuer": "https://app.example.com"}),
    ("clerk", {"issuer": "https://clerk.example.com", "client_ids": ["https://chat.example.com"]}),
    (
        "cognito",
        {"issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_A", "client_ids": ["1example"]},
    ),
    ("entra", {"issuer": "https://login.microsoftonline.com/72f988bf/v2.0", "audience": "6e74172b"}),
    ("firebase", {"issuer": "https://securetoken.google.com/chat-1234"}),
    ("keycloak", {"issuer": "https://id.example.com/realms/acme", "client_ids": ["web"]}),
    ("okta", {"issuer": "https://acme.okta.com/oauth2/default", "audience": "api://default"}),
    ("supabase", {"issuer": "https://abcdefghijkl.supabase.co/auth/v1"}),
    ("workos", {"issuer": "https://api.workos.com/user_management/client_01", "client_ids": ["client_01"]}),
]
"""What docs/tokens.md calls enough, besides the preset."""


@pytest.mark.parametrize(("name", "described"), ENOUGH)
def test_what_the_documents_call_enough_is(name: str, described: dict[str, Any]) -> None:
    issuer = Issuer.model_validate(described | {"preset": name})
    assert issuer.preset == name
    assert issuer.audience or issuer.client_ids
    assert f"\n| `{name}` | " in TOKENS


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
    (
        {"preset": "keycloak", "client_ids": ["web"], "required_claims": ["typ"]},
        "acme.required_claims: Input should be",
    ),
    ({"audience": "chat", "required_claims": {"typ": []}}, "acme.required_claims.typ"),
    ({"audience": "chat", "required_claims": {"level": 2}}, "acme.required_claims.level"),
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
