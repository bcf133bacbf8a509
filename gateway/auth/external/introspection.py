"""Tokens that only their service can read: the gateway asks it about each one (RFC 7662)."""

import base64
import hashlib
import logging
import re
from collections import OrderedDict
from typing import Annotated, Any
from urllib.parse import quote_plus, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.identity_provider_client import request_json
from gateway.auth.external.users import ExternalUsers, ServiceUnavailable, Text, bad_token
from gateway.auth.tokens import LEEWAY_SECONDS
from gateway.config.external_services import Introspection
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.core.http_client import HttpClient, RequestFailed
from handlers.errors import TokenExpired
from schemas.messages.auth import MAX_TOKEN_LENGTH

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
"""The most answers in the memory of the last few seconds."""

# RFC 6750 §2.1, b64token
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)

Time = Annotated[int, Field(ge=0, le=2**53)]

Answer = dict[str, Any]


class ActiveToken(BaseModel):
    """The checked claims of a token that its service calls active (RFC 7662 §2.2)."""

    model_config = ConfigDict(frozen=True, strict=True)

    sub: Text
    exp: Time | None = None
    nbf: Time = 0
    iss: str | None = None
    aud: str | list[str] | None = None
    token_type: str | None = None


class IntrospectedTokens:
    """Asks an external service about tokens, and remembers its answers for a few seconds."""

    def __init__(
        self,
        service: str,
        described: Introspection,
        client: HttpClient,
        users: ExternalUsers,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._service = service
        self._described = described
        self._client = client
        self._users = users
        self._clock = clock
        self._timeout = settings.outside_timeout_seconds
        self._remember_seconds = settings.introspection_cache_seconds
        self._lifetime_seconds = settings.token_minutes * 60
        self._answers = True
        self._remembered: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()

    async def authorize(self, token: str) -> AuthResult:
        """Ask about the token and find its user, or add it at first sight.

        Raises `AuthenticationFailed` or a subclass, and `ServiceUnavailable` if there is no answer.
        """
        if len(token) > MAX_TOKEN_LENGTH or _TOKEN.fullmatch(token) is None:
            raise bad_token("it has another form than a token (RFC 6750 §2.1)", "form")
        answer = await self._ask_once(token)
        if answer.get("active") is not True:
            raise bad_token("the service does not call it active", "active")
        try:
            claims = ActiveToken.model_validate(answer)
        except ValidationError:
            raise bad_token(
                "the service calls it active, but names no user, or a claim has another form", "claims"
            ) from None
        self._check(claims)
        # A token without an end may be good for any time, so it counts no longer than one of ours.
        expires_at = self._clock.wall() + self._lifetime_seconds if claims.exp is None else claims.exp
        return await self._users.find_or_create(claims.sub, answer, expires_at)

    def _check(self, claims: ActiveToken) -> None:
        now = self._clock.wall()
        audiences = claims.aud if isinstance(claims.aud, list) else [claims.aud]
        if self._described.issuer not in {None, claims.iss}:
            raise bad_token(f"another issuer `iss` than {self._described.issuer}", "issuer")
        if self._described.audience is not None and self._described.audience not in audiences:
            raise bad_token(f"another audience `aud` than {self._described.audience}", "audience")
        # Some services call a refresh token active too. It is no credential here.
        if claims.token_type is not None and claims.token_type.lower() != "bearer":
            raise bad_token("a `token_type` other than Bearer", "type")
        if claims.nbf > now + LEEWAY_SECONDS:
            raise bad_token("not good yet, by `nbf`; compare the clocks", "times")
        if claims.exp is not None and claims.exp <= now:
            raise TokenExpired("the token has expired; fetch a new one from where you log in")

    async def _ask_once(self, token: str) -> Answer:
        # Keep only a hash of the token: the memory dump of a crashed process must not contain it.
        key = hashlib.sha256(token.encode()).digest()
        until, answer = self._remembered.get(key, (float("-inf"), {}))
        if self._clock.steady() < until:
            return answer
        answer = await self._ask(token)
        self._remembered[key] = (self._clock.steady() + self._remember_seconds, answer)
        self._remembered.move_to_end(key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return answer

    async def _ask(self, token: str) -> Answer:
        form = urlencode({"token": token, "token_type_hint": "access_token"})
        try:
            answer = await request_json(
                self._client,
                "POST",
                self._timeout,
                headers={"content-type": "application/x-www-form-urlencoded", "authorization": self._authorization()},
                body=form.encode(),
            )
        except RequestFailed as error:
            # Log once, and not for each of a thousand connections.
            if self._answers:
                logger.warning("the service %s cannot be asked about tokens: %s", self._service, error)
            self._answers = False
            raise ServiceUnavailable(self._service) from None
        if not self._answers:
            logger.info("the service %s can be asked about tokens again", self._service)
        self._answers = True
        return answer

    def _authorization(self) -> str:
        # RFC 6749 §2.3.1: form-encode both before they are joined.
        secret = quote_plus(self._described.client_secret.get_secret_value())
        return "Basic " + base64.b64encode(f"{quote_plus(self._described.client_id)}:{secret}".encode()).decode()
