"""The checks of an external issuer's token, one by one, in their order.

`IssuerTokens` makes them until one fails; `gateway token check` makes them all. A failed check raises `BadToken`. Its
reason is for the operator: it has names of claims and values of the settings, and nothing that a client has chosen.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.external.users import Text, email_is_verified
from gateway.auth.keys.public_keys import one_name
from gateway.auth.keys.signatures import MAX_KID_LENGTH, BadToken
from gateway.auth.tokens import LEEWAY_SECONDS
from gateway.config.external_services import ClaimValue, Issuer
from handlers.errors import TokenExpired

# RFC 7515 §4.1.11 and RFC 7797: each changes the signed bytes or their meaning. All other parameters, such as `x5t`
# and `jku`, are hints that the gateway does not follow.
REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "cty"})

CLIENT_CLAIMS = ("azp", "client_id", "cid")
"""The claims that name the application, the first of them that is there (OpenID Connect §2, RFC 9068 §2.2, Okta)."""

Time = Annotated[int, Field(ge=0, le=2**53)] | Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]

Header = Mapping[str, Any]
Claims = Mapping[str, Any]


class ExternalClaims(BaseModel):
    """The checked claims of an external issuer's token (RFC 7519 §4.1). `aud` may be one value or several."""

    model_config = ConfigDict(frozen=True, strict=True)

    iss: Text
    sub: Text
    aud: Text | list[str] = Field(default_factory=list)
    exp: Time
    iat: Time = 0
    nbf: Time = 0


class TokenChecks:
    """The checks that need no key, with the values of one issuer's settings."""

    def __init__(self, described: Issuer) -> None:
        self._described = described
        self._algorithms = frozenset(map(one_name, described.algorithms))
        self._types = frozenset(name.lower() for name in described.token_types)

    def check_header(self, header: Header) -> None:
        """Raise `BadToken` for a parameter that changes the meaning of the signature."""
        if unfit := REFUSED_PARAMETERS & header.keys():
            raise BadToken(f"a header with `{min(unfit)}`", "header")

    def check_algorithm(self, header: Header) -> None:
        """Raise `BadToken` for an algorithm that the settings do not name."""
        if one_name(header.get("alg")) not in self._algorithms:
            raise BadToken(f"an algorithm `alg` other than {', '.join(self._described.algorithms)}", "algorithm")

    def check_type(self, header: Header) -> None:
        """Raise `BadToken` for a type that the settings do not name."""
        token_type = header.get("typ", "JWT")
        # RFC 7515 §4.1.9: a media type with or without `application/`.
        if not isinstance(token_type, str) or token_type.lower().removeprefix("application/") not in self._types:
            raise BadToken(f"a type `typ` other than {', '.join(self._described.token_types)}", "type")

    def key_name(self, header: Header) -> str | None:
        """Return the name of the token's key, or None without one. Raise `BadToken` for what is no name."""
        kid = header.get("kid")
        if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH):
            raise BadToken(f"a key's name `kid` that is no text of at most {MAX_KID_LENGTH} characters", "key")
        return kid

    def read_claims(self, claims: Claims) -> ExternalClaims:
        """Return the claims that every token needs, with the subject as `sub`, or raise `BadToken`."""
        subject = self._described.subject_claim
        read = {name: value for name, value in claims.items() if name != "sub"}
        if subject in claims:
            read["sub"] = claims[subject]
        try:
            found = ExternalClaims.model_validate(read)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = subject if first["loc"][0] == "sub" else first["loc"][0]
            missing = first["type"] == "missing"
            raise BadToken(f"no claim `{name}`" if missing else f"a claim `{name}` of another form", "claims") from None
        if subject == "email" and not email_is_verified(claims):
            # Any user may type in the address of another one.
            raise BadToken("an `email` as the subject without `email_verified: true`", "claims")
        return found

    def check_issuer(self, claims: Claims) -> None:
        """Raise `BadToken` for another issuer."""
        if claims.get("iss") != self._described.issuer:
            raise BadToken(f"another issuer `iss` than {self._described.issuer}", "issuer")

    def check_audience(self, claims: Claims) -> None:
        """Raise `BadToken` for a token that is for another audience, or for none."""
        expected, given = self._described.audience, claims.get("aud")
        if expected is None:
            return
        if given is None:
            hint = ", and no client_ids set" if self._described.client_ids is None else ""
            raise BadToken(f"no audience{hint}", "audience")
        if expected not in (given if isinstance(given, list) else [given]):
            raise BadToken(f"another audience `aud` than {expected}", "audience")

    def check_client(self, claims: Claims) -> None:
        """Raise `BadToken` for a token of another application, or of none."""
        if self._described.client_ids is None:
            return
        name = client_claim(claims)
        if name is None:
            raise BadToken(f"no client: it has neither of {', '.join(CLIENT_CLAIMS)}", "client")
        if claims[name] not in self._described.client_ids:
            raise BadToken(f"another client `{name}` than those of client_ids", "client")

    def check_required(self, claims: Claims) -> None:
        """Raise `BadToken` for a claim with another value than the settings allow."""
        for name, allowed in self._described.required_claims.items():
            values = allowed if isinstance(allowed, tuple) else (allowed,)
            given = claims.get(name)
            # JSON's `true` and `1` are two values, and Python's are one.
            if not any(given == value and type(given) is type(value) for value in values):
                raise BadToken(f"a claim `{name}` other than {' or '.join(map(_written, values))}", "required")

    def check_times(self, claims: ExternalClaims, now: float) -> None:
        """Raise `BadToken` for a token that is not good yet, and `TokenExpired` for one that is good no more."""
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise BadToken("not good yet, by `nbf` or `iat`; compare the clocks", "times")
        if claims.exp <= now:
            raise TokenExpired("the token has expired; fetch a new one from where you log in")


def _written(value: ClaimValue) -> str:
    return "none" if value is None else value if isinstance(value, str) else str(value).lower()


def client_claim(claims: Claims) -> str | None:
    """Return the name of the claim that names the application; each issuer has its own."""
    return next((name for name in CLIENT_CLAIMS if name in claims), None)
