"""Tokens in the shapes of the providers that teams have: the preset of each lets them in, and few keys are enough.

Each shape follows the provider's documentation; `gateway/config/issuer_presets.py` names its page.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import OwnGateway
from tests.gateway.auth.forging import Signer, ec_signer, edwards_signer, hmac_signer, rsa_signer
from tests.support.client import App
from tests.support.issuer import running_service

SECRET = "q8Zr2-mB7kPz0vXw5yLc9dNf3hTj6sGa"
GUID = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
TENANT = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"
POOL = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE"

rsa_key, ec_key, edwards_key, secret_key = (
    rsa_signer("rsa"),
    ec_signer("ec"),
    edwards_signer("edwards"),
    hmac_signer("secret", SECRET.encode()),
)


@dataclass(frozen=True)
class Shape:
    """A provider's token, the operator's settings for it, and what it becomes."""

    settings: dict[str, Any]
    claims: dict[str, Any]
    user: str
    """A pattern of the user's name."""
    others: tuple[dict[str, Any], ...]
    """Changes that make the token one for another application, project or tenant."""
    key: Signer = rsa_key
    header: dict[str, Any] = field(default_factory=lambda: {"typ": "JWT"})
    scopes: tuple[str, ...] = ("chat:read",)
    """What the user may do; the settings map `talk` to `chat:read`."""

    def sign(self, **changes: Any) -> str:
        """Sign the token with changes."""
        now = int(time.time())
        claims = {"iss": self.settings["issuer"], "iat": now, "exp": now + 300} | self.claims | changes
        claims = {name: value for name, value in claims.items() if value is not ...}
        return self.key.sign(claims, **self.header)


SHAPES = {
    "auth0": Shape(
        {"preset": "auth0", "issuer": "https://acme.eu.auth0.com/", "audience": "https://chat.example.com"},
        {
            "sub": "auth0|6553da60a54af58e29493993",
            "aud": ["https://chat.example.com", "https://acme.eu.auth0.com/userinfo"],
            "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "scope": "openid profile admin",
            "permissions": ["talk"],
        },
        r"auth0-6553da60a-[0-9a-f]{16}",
        ({"aud": ["https://shop.example.com"]}, {"iss": "https://other.eu.auth0.com/"}),
    ),
    "auth0-rfc9068": Shape(
        {"preset": "auth0", "issuer": "https://acme.us.auth0.com/", "client_ids": ["K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja"]},
        {
            "sub": "google-oauth2|103547991597142817347",
            "aud": "https://chat.example.com",
            "client_id": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "jti": "73WakrfVbNJBaAmhQtEeDv",
        },
        r"google-oauth2-1-[0-9a-f]{16}",
        ({"client_id": "another"}, {"client_id": ...}),
        header={"typ": "at+jwt"},
        scopes=(),
    ),
    "clerk": Shape(
        {"preset": "clerk", "issuer": "https://clerk.example.com", "client_ids": ["https://chat.example.com"]},
        {
            "azp": "https://chat.example.com",
            "fva": [7, -1],
            "nbf": int(time.time()) - 10,
            "o": {"id": "org_2abc", "slg": "acme", "rol": "talk"},
            "sid": "sess_2NNEqL2nrIRdJ194ndJqAHwEfxC",
            "sts": "active",
            "sub": "user_2NNEqL2nrIRdJ194ndJqAHwEfxC",
            "v": 2,
        },
        r"user_2nneql2nri-[0-9a-f]{16}",
        (
            {"sts": "pending"},
            {"azp": "https://evil.example.com"},
            {"azp": ...},
            {"aud": "https://chat.example.com", "azp": ...},
        ),
        header={"typ": "JWT", "cat": "cl_B7d4PD111AAA"},
    ),
    "cognito": Shape(
        {"preset": "cognito", "issuer": POOL, "client_ids": ["1example23456789"]},
        {
            "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "cognito:groups": ["talk"],
            "version": 2,
            "client_id": "1example23456789",
            "token_use": "access",
            "scope": "openid aws.cognito.signin.user.admin",
            "auth_time": 1676312777,
            "username": "carol.cognito",
        },
        r"carol\.cognito",
        (
            {"client_id": "another"},
            {"token_use": "id"},
            {"client_id": ..., "aud": "1example23456789", "token_use": "id"},
        ),
        header={"typ": ...},
    ),
    "entra": Shape(
        {"preset": "entra", "issuer": TENANT, "audience": GUID},
        {
            "aud": GUID,
            "aio": "AXQAi/8IAAAAtAWeRTGs3T",
            "azp": GUID,
            "azpacr": "0",
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "rh": "0.ARoA",
            "roles": ["talk"],
            "scp": "access_as_user",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "ver": "2.0",
        },
        r"hkzpfahywadeoou-[0-9a-f]{16}",
        ({"aud": "00000003-0000-0000-c000-000000000000"}, {"iss": TENANT.replace("72f988bf", "11111111")}),
        key=rsa_signer("entra"),
    ),
    "firebase": Shape(
        {"preset": "firebase", "issuer": "https://securetoken.google.com/chat-1234", "scope_claim": "role"},
        {
            "aud": "chat-1234",
            "auth_time": 1700000000,
            "user_id": "kQ3xYp0zTjWn4vBc8dLm2sRf1hG2",
            "sub": "kQ3xYp0zTjWn4vBc8dLm2sRf1hG2",
            "role": "talk",
            "email": "carol@example.com",
            "email_verified": False,
            "firebase": {"identities": {"email": ["carol@example.com"]}, "sign_in_provider": "password"},
        },
        r"kq3xyp0ztjwn4vb-[0-9a-f]{16}",
        ({"aud": "shop-1"}, {"iss": "https://securetoken.google.com/shop-1"}),
    ),
    "keycloak": Shape(
        {"preset": "keycloak", "issuer": "https://id.example.com/realms/acme", "client_ids": ["chat-web"]},
        {
            "jti": "onrtac:8d9c1c4e",
            "aud": "account",
            "sub": "f1888f4d-5172-4359-be0c-af338505d86c",
            "typ": "Bearer",
            "azp": "chat-web",
            "sid": "3c1b7e1e",
            "acr": "1",
            "realm_access": {"roles": ["talk", "offline_access"]},
            "resource_access": {"account": {"roles": ["manage-account"]}},
            "scope": "profile email",
            "email_verified": True,
            "preferred_username": "carol.keycloak",
            "email": "carol@example.com",
        },
        r"carol\.keycloak",
        (
            {"azp": "shop-web"},
            {"typ": "ID", "aud": "chat-web"},
            {"typ": "Refresh"},
            {"typ": ...},
            {"iss": "https://id.example.com/realms/other"},
        ),
    ),
    "okta": Shape(
        {"preset": "okta", "issuer": "https://acme.okta.com/oauth2/default", "client_ids": ["nmdP1fcyvdVO11AL7ECm"]},
        {
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "aud": "api://default",
            "cid": "nmdP1fcyvdVO11AL7ECm",
            "uid": "00ujmkLgagxeRrAg20g3",
            "scp": ["openid", "talk"],
            "auth_time": 1467145094,
            "sub": "carol@okta.example.com",
        },
        r"carol_okta\.example\.com",
        ({"cid": "another"}, {"iss": "https://acme.okta.com"}, {"uid": ...}),
        header={"typ": ...},
    ),
    "supabase": Shape(
        {
            "preset": "supabase",
            "issuer": "https://abcdefghijkl.supabase.co/auth/v1",
            "scopes": {"authenticated": ["chat:read"]},
        },
        {
            "aud": "authenticated",
            "sub": "123e4567-e89b-12d3-a456-426614174000",
            "role": "authenticated",
            "aal": "aal1",
            "session_id": "session-uuid",
            "email": "",
            "phone": "",
            "is_anonymous": False,
            "amr": [{"method": "password", "timestamp": 1640991600}],
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {"email_verified": True, "role": "admin"},
        },
        r"123e4567-e89b-1-[0-9a-f]{16}",
        ({"aud": "anon", "role": "anon"}, {"sub": ..., "role": "service_role"}, {"iss": "supabase"}),
        key=ec_key,
    ),
    "supabase-secret": Shape(
        {"preset": "supabase", "issuer": "https://mnopqrstuvwx.supabase.co/auth/v1", "secret": SECRET},
        {"aud": "authenticated", "sub": "9b2d6c1e-0000-4000-8000-000000000001", "role": "authenticated"},
        r"9b2d6c1e-0000-4-[0-9a-f]{16}",
        ({"sub": ..., "role": "service_role"}, {"iss": "https://abcdefghijkl.supabase.co/auth/v1"}),
        key=secret_key,
        header={"typ": "JWT", "kid": ...},
        scopes=(),
    ),
    "workos": Shape(
        {
            "preset": "workos",
            "issuer": "https://api.workos.com/user_management/client_01HQ",
            "client_ids": ["client_01HQ"],
        },
        {
            "sub": "user_01HBEQKA6K4QJAS93VPE39W1JT",
            "client_id": "client_01HQ",
            "org_id": "org_01HRDMC6CM357W30QMHMQ96Q0S",
            "role": "member",
            "roles": ["member"],
            "permissions": ["talk"],
            "sid": "session_01HQSXZGF8FHF7A9ZZFCW4387R",
            "jti": "01HQSXZXPPFPKMDD32RKTFY6PV",
        },
        r"user_01hbeqka6k-[0-9a-f]{16}",
        ({"client_id": "client_02"}, {"iss": "https://api.workos.com/user_management/client_02"}),
    ),
    "better-auth": Shape(
        {"preset": "better-auth", "issuer": "https://app.example.com"},
        {
            "id": "Zk3vQ8yLw2nT5xRb",
            "name": "Carol",
            "email": "carol@example.com",
            "emailVerified": False,
            "role": "talk",
            "aud": "https://app.example.com",
            "sub": "Zk3vQ8yLw2nT5xRb",
        },
        r"zk3vq8ylw2nt5xr-[0-9a-f]{16}",
        ({"aud": "https://shop.example.com"}, {"iss": "https://shop.example.com"}),
        key=edwards_key,
        header={"typ": ...},
    ),
}


async def test_the_preset_of_each_provider_takes_a_token_of_its_shape_and_none_for_others(
    own_gateway: OwnGateway,
) -> None:
    with running_service() as service:
        service.keys = [
            *(rsa_key.jwk(), ec_key.jwk(), edwards_key.jwk(alg=...)),
            SHAPES["entra"].key.jwk(alg=...),  # Entra's keys name no algorithm
        ]
        issuers = {}
        for name, shape in SHAPES.items():
            keys = {} if "secret" in shape.settings else {"jwks_url": f"{service.url}/keys"}
            issuers[name] = {"scopes": {"talk": ["chat:read"]}} | keys | shape.settings
        async with App(own_gateway(issuers=issuers)) as app:
            for name, shape in SHAPES.items():
                async with app.socket(f"?service={name}&token={shape.sign()}") as client:
                    welcome = await client.expect("welcome")
                assert re.fullmatch(shape.user, welcome["user"]), (name, welcome["user"])
                assert welcome["scopes"] == list(shape.scopes), name
                for changes in shape.others:
                    async with app.socket(f"?service={name}&token={shape.sign(**changes)}") as client:
                        error = await client.expect("error", status=40001)
                    assert error["message"].startswith("the token is not valid for this service"), (name, changes)


async def test_a_log_in_of_okta_that_passes_to_another_person_is_another_user(own_gateway: OwnGateway) -> None:
    okta = SHAPES["okta"]
    with running_service() as service:
        service.keys = [okta.key.jwk()]
        gateway = own_gateway(issuers={"okta": okta.settings | {"jwks_url": f"{service.url}/keys"}})
        async with App(gateway) as app:
            async with app.socket(f"?service=okta&token={okta.sign()}") as client:
                await client.expect("welcome", user="carol_okta.example.com")
            async with app.socket(f"?service=okta&token={okta.sign(sub='carol@new.example.com')}") as client:
                await client.expect("welcome", user="carol_okta.example.com")
            async with app.socket(f"?service=okta&token={okta.sign(uid='00uAnother')}") as client:
                error = await client.expect("error", status=40001)
                assert error["message"].startswith("the user name `carol_okta.example.com` is taken")


async def test_a_preset_finds_the_keys_by_discovery(own_gateway: OwnGateway) -> None:
    with running_service() as service:
        service.keys = [rsa_key.jwk()]
        realm = f"{service.url}/realms/acme"
        keys = f"{realm}/protocol/openid-connect/certs"
        service.pages["/realms/acme/.well-known/openid-configuration"] = service.discovery(issuer=realm, jwks_uri=keys)
        issuers = {"keycloak": {"preset": "keycloak", "issuer": realm, "client_ids": ["chat-web"]}}
        async with App(own_gateway(issuers=issuers)) as app:
            token = SHAPES["keycloak"].sign(iss=realm)
            async with app.socket(f"?service=keycloak&token={token}") as client:
                await client.expect("welcome", user="carol.keycloak")
