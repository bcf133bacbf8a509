"""The token: asked for once at a time, in time, and twice at most after a refusal."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from gateway_client.clock import Clock
from gateway_client.errors import GatewayError, NoToken
from gateway_client.times import Times

MOST_REFUSALS = 2
"""How often in a row to ask for another token after a refusal."""

Why = Literal["connect", "expiring", "refused"]


@dataclass(frozen=True)
class TokenRequest:
    """Why a token is needed: for a connection, because the last one ends, or because the gateway has refused it."""

    reason: Why
    previous: str | None = field(repr=False)


GetToken = Callable[[TokenRequest], str | Awaitable[str]]


class TokenProblem(GatewayError):
    """`get_token` has failed, and may work later."""


class Credential:
    """The token of a gateway object, and the moment at which it ends, on the client's clock."""

    def __init__(self, token: str | None, get_token: GetToken | None, clock: Clock, times: Times) -> None:
        if token is None and get_token is None:
            raise TypeError("expected token= or get_token=")
        self.renews = get_token is not None
        self._token = token if token is None else checked(token)
        self._get_token = get_token
        self._clock = clock
        self._times = times
        self._ends_at: float | None = None
        self._refused: str | None = None
        self._refusals = 0
        self._asking: asyncio.Task[str] | None = None

    async def for_connection(self) -> str:
        """Return a token to connect with. Raise `NoToken` if there will be none, and `TokenProblem` if later."""
        if self._token is not None and self._token != self._refused and not (self.renews and self._ends_soon()):
            return self._token
        return await self.renew("connect" if self._refused is None else "refused")

    async def renew(self, why: Why) -> str:
        """Return the next token. All callers share one request, which survives a caller that is cancelled."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(why), name="gateway_client token")
            self._asking.add_done_callback(self._answered)
        asking = self._asking
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if asking.cancelled() and caller is not None and not caller.cancelling():
                raise TokenProblem("get_token was cancelled") from None
            raise

    def accepted(self, ends_in: float | None) -> None:
        """Note that the gateway has taken the token, and in how many seconds it ends."""
        self._refused = None
        self._refusals = 0
        self._ends_at = None if ends_in is None else self._clock.now() + ends_in

    def refused(self, token: str | None) -> None:
        """Note that the gateway has refused a token."""
        self._refused = token

    async def close(self) -> None:
        """End a request that is on its way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _ends_soon(self) -> bool:
        return self._ends_at is not None and self._ends_at - self._clock.now() < self._times.margin

    def _answered(self, task: asyncio.Task[str]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # its callers may all have left

    async def _ask(self, why: Why) -> str:
        while True:
            if why == "refused":
                self._check_refusals()
            token = await self._fetch(TokenRequest(why, self._token))
            self._refusals += why == "refused"  # one that failed does not count
            if token != self._refused:
                self._ends_at = self._ends_at if token == self._token else None
                self._token = token
                return token
            if why == "expiring":
                raise TokenProblem("get_token has returned a token that the gateway has refused")
            why = "refused"

    def _check_refusals(self) -> None:
        if self._get_token is None:
            raise NoToken("the gateway has refused the token, and there is no get_token= for another one")
        if self._refusals == MOST_REFUSALS:
            raise NoToken("the gateway has refused the token, and get_token has brought no better one")

    async def _fetch(self, request: TokenRequest) -> str:
        if self._get_token is None:
            raise NoToken("the token ends, and there is no get_token= for another one")
        try:
            async with asyncio.timeout(self._times.token) as limit:
                answer = self._get_token(request)
                return checked(await answer if inspect.isawaitable(answer) else answer)
        except NoToken:
            raise
        except Exception as error:
            if limit.expired():
                raise TokenProblem(f"get_token has not answered within {self._times.token:g} s") from error
            raise TokenProblem(f"get_token has failed ({type(error).__name__}: {error})") from error


def checked(token: object) -> str:
    """Return a token. Raise `ValueError` for anything that no header can carry."""
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token or " " in token:
        raise ValueError("expected a token: a text of visible ASCII characters")
    return token
