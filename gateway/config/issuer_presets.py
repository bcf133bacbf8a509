"""What is special about the tokens of well-known providers, so that an operator need not look it up.

A preset fills in what the operator has left out of an issuer in `GATEWAY_ISSUERS`. Above each preset is the page of the
provider's documentation that describes its tokens, and behind each key the reason. Two rules hold for all:

- `user_claim` names a claim that every token of the provider has, so that no user is refused for a missing name.
- `scope_claim` names what the provider's operator has assigned to a user, and not what an application has asked for.

The operator's own keys win. Those of `required_claims` are added to the preset's.

In the values, `{issuer}` stands for the issuer without a slash at its end, `{name}` for the last part of its path, and
`{client}` for the first of `client_ids`.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

PresetName = Literal[
    "auth0", "better-auth", "clerk", "cognito", "entra", "firebase", "keycloak", "okta", "supabase", "workos"
]

Preset = dict[str, Any]

PRESETS: dict[PresetName, Preset] = {
    # https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
    "auth0": {
        "algorithms": ["RS256", "PS256"],  # the two that an API may choose besides HS256
        "token_types": ["JWT", "at+jwt"],  # of its own profile, and of that of RFC 9068
        "user_claim": "sub",  # an access token has no name and no address, only `auth0|6553da60a54af58e29493993`
        "scope_claim": "permissions",  # those of the user's roles; an application chooses what is in `scope`
    },
    # https://better-auth.com/docs/plugins/jwt
    "better-auth": {
        "audience": "{issuer}",  # the base URL is the issuer and the audience
        "jwks_url": "{issuer}/api/auth/jwks",  # it has no discovery without its plugin for OpenID Connect
        "algorithms": [
            "EdDSA",
            "Ed25519",
            "ES256",
            "RS256",
            "PS256",
            "ES512",
        ],  # EdDSA, unless its settings say another
        "user_claim": "sub",  # the user's id; an address need not be verified
        "scope_claim": "role",  # of its plugin for administrators
    },
    # https://clerk.com/docs/guides/sessions/session-tokens
    "clerk": {
        "jwks_url": "{issuer}/.well-known/jwks.json",  # on the Frontend API; its URL is the issuer
        "algorithms": ["RS256"],  # the only one
        "token_types": ["JWT"],  # of session tokens; those for machines have others
        "required_claims": {"sts": ["active", None]},  # `pending` until the user has done its tasks, as a second factor
        "user_claim": "sub",  # `user_…`; a session token has no other claim of the user
        "scope_claim": ["o", "rol"],  # the role in the active organization; `azp` is the origin of the application
    },
    # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
    "cognito": {
        "algorithms": ["RS256"],  # the only one
        "required_claims": {"token_use": "access"},  # ID tokens have `id`
        "user_claim": "username",  # access tokens have it, and `client_id` in place of `aud`
        "scope_claim": "cognito:groups",  # the groups of the user; an application chooses what is in `scope`
    },
    # https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference
    "entra": {
        "algorithms": ["RS256"],  # the only one, and its keys do not say it
        "token_types": ["JWT"],  # always
        "user_claim": "sub",  # `preferred_username` is only there if the application asks for it
        "scope_claim": "roles",  # the roles that the user has in the application; `scp` is what was consented to
    },
    # https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library
    "firebase": {
        "audience": "{name}",  # the project, which is the last part of the issuer
        "jwks_url": "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        "algorithms": ["RS256"],  # the only one
        "token_types": ["JWT"],  # always
        "user_claim": "sub",  # an anonymous user and one with a telephone have no address
    },
    # https://www.keycloak.org/docs/latest/server_admin/#_audience
    "keycloak": {
        "algorithms": ["RS256", "ES256", "PS256", "EdDSA"],  # RS256, unless the realm says another
        "token_types": ["JWT", "at+jwt"],  # the second since it can follow RFC 9068
        "required_claims": {"typ": "Bearer"},  # ID tokens have the same `azp`, and travel in URLs at a log-out
        "user_claim": "preferred_username",  # the scope `profile` has it, which each client has by default
        "scope_claim": ["realm_access", "roles"],  # the roles of the realm; `aud` is `account`, and `azp` the client
    },
    # https://developer.okta.com/docs/api/resources/oidc.html#access-token
    "okta": {
        "algorithms": ["RS256"],  # the only one for access tokens; their header has no `typ`
        "subject_claim": "uid",  # `sub` is the log-in, which may pass to another person
        "user_claim": "sub",  # the log-in, mostly an e-mail address
        "scope_claim": "scp",  # a list; the policies of the authorization server decide on it. The client is `cid`
    },
    # https://supabase.com/docs/guides/auth/jwt-fields
    "supabase": {
        "audience": "authenticated",  # of every user; a key of the project has no `sub`
        "jwks_url": "{issuer}/.well-known/jwks.json",  # the issuer ends with /auth/v1
        "algorithms": ["ES256", "RS256", "EdDSA"],  # of its signing keys; an older project needs `secret`
        "token_types": ["JWT"],  # always
        "user_claim": "sub",  # `email` may be empty, and no claim that users cannot write says that it is verified
        "scope_claim": "role",  # `user_metadata` is for users to write, so no right may come from there
    },
    # https://workos.com/docs/reference/authkit/session-tokens
    "workos": {
        "jwks_url": "https://api.workos.com/sso/jwks/{client}",  # each application has keys of its own
        "algorithms": ["RS256"],  # the only one
        "user_claim": "sub",  # `user_…`; there is no other claim of the user without a JWT template
        "scope_claim": "permissions",  # those of the role in the organization; there is no `scope` and no `aud`
    },
}

PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)

OF_PUBLIC_KEYS = frozenset({"algorithms", "jwks_url"})
"""What an issuer with a secret must not have."""


def with_preset(issuer: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an issuer with those of its preset. What the operator has set stays as it is."""
    preset = next((PRESETS[name] for name in PRESET_NAMES if name == issuer.get("preset")), {})
    left_out = {key: value for key, value in preset.items() if key not in issuer}
    if isinstance(own := issuer.get("required_claims"), dict) and "required_claims" in preset:
        left_out["required_claims"] = preset["required_claims"] | own
    if issuer.get("secret") is not None:
        left_out = {key: value for key, value in left_out.items() if key not in OF_PUBLIC_KEYS}
    url, clients = issuer.get("issuer"), issuer.get("client_ids")
    base = url.rstrip("/") if isinstance(url, str) else ""
    client = clients[0] if isinstance(clients, list | tuple) and clients else ""
    parts = {"{issuer}": base, "{name}": base.rpartition("/")[2], "{client}": client}
    filled = {key: _filled(value, parts) for key, value in left_out.items()}
    return issuer | {key: value for key, value in filled.items() if value is not None}


def _filled(value: object, parts: Mapping[str, object]) -> object:
    """Return a value with the parts of the issuer in it, or None if the issuer lacks one of them."""
    for name, part in parts.items():
        if isinstance(value, str) and name in value:
            value = value.replace(name, part) if isinstance(part, str) and part else None
    return value
