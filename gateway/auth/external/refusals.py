"""The refusals of one external service's tokens, in the log and the audit.

The client learns only that its token is not valid. The operator learns which check has refused it, without anything of
the token: the reason has names of claims and values of the settings. A client can cause any number of refusals, so at
most one a second is written for each service, with the number of those left out.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from gateway.auth.authorizers import Authorizer, AuthResult
from gateway.auth.external.users import Refused
from gateway.core.audit import Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock
from gateway.core.logs import client_address
from handlers.errors import AuthenticationFailed, TokenExpired, TokenRevoked

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""The pause between two lines about one service."""


class Refusals:
    """Writes why tokens of one service were refused, at most once a second."""

    def __init__(self, service: str, audit: Audit, clock: Clock, counts: Counter[tuple[str, str]]) -> None:
        """Add to `counts` by the service and the check."""
        self._service = service
        self._counts = counts
        self._audit = audit
        self._clock = clock
        self._written_at = float("-inf")
        self._left_out = 0

    def note(self, reason: str, check: str, level: int = logging.WARNING) -> None:
        """Write a reason, or count it within a second of the last one."""
        self._counts[self._service, check] += 1
        now = self._clock.steady()
        if now < self._written_at + SECONDS:
            self._left_out += 1
            return
        left_out, self._left_out, self._written_at = self._left_out, 0, now
        more = f" (and left out {left_out} more lines before this one)" if left_out else ""
        logger.log(level, "refused a token of %s: %s%s", self._service, reason, more)
        client = ClientInfo(client_address.get() or "unknown")
        self._audit.record("token_refused", client, service=self._service, reason=reason, left_out=left_out or None)

    def close(self) -> None:
        """Write how many were left out since the last line."""
        if self._left_out:
            logger.warning("left out %d more lines about refused tokens of %s", self._left_out, self._service)
            self._left_out = 0


class NotedRefusals:
    """An authorizer with a note of each refusal."""

    def __init__(self, authorizer: Authorizer, refusals: Refusals) -> None:
        self._authorizer = authorizer
        self._refusals = refusals

    async def authorize(self, token: str) -> AuthResult:
        """Return the user of the token, or note why not, and raise what the check has raised."""
        try:
            return await self._authorizer.authorize(token)
        except AuthenticationFailed as error:
            # Every client comes with an expired token now and then.
            level = logging.INFO if isinstance(error, TokenExpired) else logging.WARNING
            self._refusals.note(_reason_of(error), _check_of(error), level)
            raise


@contextmanager
def noted(
    authorizers: Mapping[str, Authorizer], audit: Audit, clock: Clock, counts: Counter[tuple[str, str]]
) -> Iterator[dict[str, Authorizer]]:
    """Return authorizers that note each refusal, and add to `counts` by the service and the check."""
    with ExitStack() as stack:
        result: dict[str, Authorizer] = {}
        for name, authorizer in authorizers.items():
            refusals = Refusals(name, audit, clock, counts)
            stack.callback(refusals.close)
            result[name] = NotedRefusals(authorizer, refusals)
        yield result


def _reason_of(error: AuthenticationFailed) -> str:
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, TokenExpired):
        return "it has expired"
    if isinstance(error, TokenRevoked):
        return "its user is disabled here, or it was revoked"
    return "the application's own check refused it"


def _check_of(error: AuthenticationFailed) -> str:
    if isinstance(error, Refused):
        return error.check
    if isinstance(error, TokenExpired):
        return "expired"
    return "revoked" if isinstance(error, TokenRevoked) else "own"
