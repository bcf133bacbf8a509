"""The external services that vouch for users, as the settings describe them.

A client names one of them with `?service=`.
"""

import json
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gateway.config.issuer_presets import PresetName, with_preset
from gateway.config.unfit_secrets import MIN_KEY_BYTES

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LOCAL = "gateway"
"""The service that checks the gateway's own tokens. It is the default, and no external service may have its name."""

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256"]


def _service_name(value: str) -> str:
    if value == LOCAL:
        raise PydanticCustomError("service", "expected another name than `gateway`, which is this gateway itself")
    return value


def check_url(value: str) -> str:
    """Return a URL to which a request may go with what it has, or raise pydantic's error, which is a `ValueError`."""
    try:
        url = urlsplit(value)
        host, _port = url.hostname, url.port
        _ = host and host.encode("idna")  # as the request will do it
    except ValueError:
        host = None
    if not host or url.username is not None or url.fragment or not value.isprintable() or " " in value:
        raise PydanticCustomError("url", "expected a URL such as https://login.example.com/keys")
    if url.scheme != "https" and not (url.scheme == "http" and host in LOOPBACK):
        raise PydanticCustomError("url", "expected https; plain http is allowed only to this machine itself")
    return value


ServiceName = Annotated[
    str, Field(min_length=1, max_length=20, pattern=r"^[a-z0-9][a-z0-9-]*$"), AfterValidator(_service_name)
]
SafeUrl = Annotated[str, Field(max_length=2048), AfterValidator(check_url)]
Name = Annotated[str, Field(min_length=1, max_length=256)]

ClaimValue = str | bool | None
"""A value that a claim may have; None stands for a claim that is not there."""

ClaimPath = Name | Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]

Described = TypeVar("Described", bound="ExternalService")
ByName = dict[ServiceName, Described]


class ExternalService(BaseModel):
    """What every external service has: how its claims become a user of the gateway.

    `user_claim` names the claim with the user's name; with null, the gateway makes a name up. `scope_claim` names the
    claim with the scopes, a string or a list; a list of names is a path into objects. `scopes` lists what each scope
    allows here. Without `scopes`, every user of the service may do what a registered user may. `rooms_claim` names the
    claim with the rights by room, like `scope_claim`. Without it, the service limits no user to certain rooms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user_claim: Name | None = "preferred_username"
    scope_claim: ClaimPath = "scope"
    scopes: dict[str, Annotated[tuple[Name, ...], Field(strict=False)]] | None = None
    rooms_claim: ClaimPath | None = None


class Issuer(ExternalService):
    """An issuer of JSON Web Tokens that publishes its keys at `jwks_url` (RFC 7517 §5), or shares a `secret`.

    Without either, the issuer says where its keys are (`auth.external.discovery`).

    A token must name the `audience` in `aud`, and one of the `client_ids` in `azp`, `client_id` or `cid`. Without
    either, the gateway would accept the tokens of every application of the issuer, so at least one is required.

    `subject_claim` names the claim that never changes of a user and is no other user's. The user's id is made of it.

    `required_claims` lists claims with the values that they may have. So a token for another purpose does not pass.
    """

    preset: PresetName | None = None
    issuer: Name
    audience: Name | None = None
    client_ids: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100, strict=False)] | None = None
    jwks_url: SafeUrl | None = None
    secret: SecretStr | None = None
    subject_claim: Name = "sub"
    required_claims: dict[Name, ClaimValue | Annotated[tuple[ClaimValue, ...], Field(min_length=1, strict=False)]] = (
        Field(default_factory=dict, max_length=20)
    )
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1, strict=False)] = ("RS256", "ES256")
    token_types: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = ("at+jwt", "JWT")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, value: Any) -> Any:
        return with_preset(value) if isinstance(value, dict) else value

    @model_validator(mode="before")
    @classmethod
    def _default_of_secrets(cls, value: Any) -> Any:
        # Nothing else goes with a secret, so it need not be said.
        if isinstance(value, dict) and value.get("secret") is not None and "algorithms" not in value:
            return value | {"algorithms": ["HS256"]}
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        secret = value.get_secret_value().encode()
        if len(secret) < MIN_KEY_BYTES:
            raise PydanticCustomError(
                "secret", "expected at least {bytes} bytes, got {got}", {"bytes": MIN_KEY_BYTES, "got": len(secret)}
            )
        from gateway.config.key_material import is_key_material  # with cryptography, which few commands need

        if is_key_material(secret):
            raise PydanticCustomError(
                "secret",
                "expected a secret that only the issuer and this gateway know, got a key or a certificate;"
                " for an issuer with public keys, set jwks_url instead",
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.audience is None and self.client_ids is None:
            raise PydanticCustomError(
                "audience", "expected audience or client_ids: without both, tokens for other applications would pass"
            )
        if self.secret is None:
            if "HS256" in self.algorithms:
                raise PydanticCustomError("algorithms", "expected a secret for HS256: its keys are never public")
            if self.jwks_url is None and not _can_be_asked(self.issuer):
                raise PydanticCustomError(
                    "jwks_url",
                    "expected jwks_url, or a secret for HS256, or as the issuer an https URL where the gateway can ask",
                )
        elif self.jwks_url is not None or self.algorithms != ("HS256",):
            # With both, a public key could be taken for a secret, and so each reader of it could sign (RFC 8725 §3.1).
            raise PydanticCustomError(
                "secret", "expected no jwks_url and no algorithm but HS256 beside a secret; name two services instead"
            )
        return self


def _can_be_asked(issuer: str) -> bool:
    """Return whether this is a URL as discovery needs it, without a query (OpenID Connect Discovery 1.0 §3)."""
    try:
        return "?" not in check_url(issuer)
    except ValueError:
        return False


class Introspection(ExternalService):
    """A service that the gateway asks about each token (RFC 7662)."""

    user_claim: Name | None = "username"
    url: SafeUrl
    client_id: Name
    client_secret: SecretStr
    issuer: Name | None = None
    audience: Name | None = None

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if not self.client_secret.get_secret_value():
            raise PydanticCustomError("client_secret", "expected a client_secret that is not empty")
        return self


def parse_external_services(text: str) -> Any:
    """Return the JSON value of a setting for external services, or raise pydantic's error for a wrong value."""
    if not text.strip():
        return {}
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise PydanticCustomError(
            "json", "expected one JSON object whose keys are the names of services, each only once"
        ) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result
