"""Whether and when to come back: `bye` decides, or else the code of the close, or else full jitter."""

import random
from collections.abc import Mapping
from typing import Any

from gateway_client.errors import Lost, Reconnect, whole_number

CUT_OFF = "cut_off"
"""The reason of a connection that ended without one."""

LONGEST_WAIT_MS = 3_600_000
"""The longest wait that a gateway can ask for."""

_BY_REASON = {
    (1000, "bye"): Reconnect.NEVER,
    (1008, "forbidden_origin"): Reconnect.NEVER,
    (1008, "not_found"): Reconnect.NEVER,
}
_BY_CODE = {
    1008: Reconnect.NEW_CREDENTIAL,
    1012: Reconnect.AFTER_DELAY,
    4400: Reconnect.NEVER,
    4403: Reconnect.NEVER,
    4410: Reconnect.NEW_CREDENTIAL,
    4411: Reconnect.NEW_CREDENTIAL,
    4429: Reconnect.AFTER_DELAY,
}


def lost_by(code: int | None, close_reason: str, bye: Mapping[str, Any], error: str) -> Lost:
    """Return how a connection has ended, from its close frame, its `bye` and an error before that."""
    word = bye.get("reason")
    reason = word if isinstance(word, str) and word else close_reason
    return Lost(
        _words(reason, error),
        _step(bye.get("reconnect"), code, reason),
        code=whole_number(bye.get("code")) or code,
        reason=reason or CUT_OFF,
        after_ms=min(whole_number(bye.get("after_ms")), LONGEST_WAIT_MS),
    )


def _words(reason: str, error: str) -> str:
    if not reason:
        return f"the connection was cut off: {error}" if error else "the connection was cut off"
    if " " in reason:
        return reason  # a sentence of the client's own
    return f"the gateway has closed the connection ({reason}{f': {error}' if error else ''})"


def _step(word: object, code: int | None, reason: str) -> Reconnect:
    if isinstance(word, str) and word in list(Reconnect):
        return Reconnect(word)
    known = _BY_REASON.get((code or 0, reason)) or _BY_CODE.get(code or 0)
    return known or Reconnect.WITH_BACKOFF


class Backoff:
    """The delays between attempts. They grow with each failure."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0

    def reset(self) -> None:
        """Begin anew, after a connection that has held."""
        self.failures = 0

    def after(self, lost: Lost) -> float:
        """Return the seconds to wait after an end, and count it as a failure."""
        asked = lost.after_ms / 1000
        failures, self.failures = self.failures, self.failures + 1
        if lost.reconnect is Reconnect.AFTER_DELAY and asked and not failures:
            return asked  # the gateway has spread its clients; one that asks again and again is not so sure
        longest = min(self._longest, self._first * 2 ** min(failures, 30))
        return asked + random.uniform(0, longest)  # noqa: S311 - no secret
