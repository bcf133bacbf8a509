"""The refusals in the API's description: their statuses and bodies."""

from typing import Any

from schemas.errors import HttpErrorBody
from schemas.token import TokenError

Responses = dict[int | str, dict[str, Any]]

_WORDS = {
    400: "The body cannot be read.",
    401: "No credential, or one that does not hold.",
    403: "Not for this user.",
    404: "There is none.",
    409: "It exists already.",
    413: "The body has over 16 KiB. In plain text, where its head says so.",
    415: "The body is of another kind than this takes.",
    422: "A field is missing or wrong; `details` lists which.",
    429: "Too many; `Retry-After` says how many seconds to wait.",
    503: "The store is down, or too much waits; nothing was done. `Retry-After` says how many seconds to wait.",
}
# The form of RFC 6749, unless FastAPI or a limit refuses before the endpoint.
_OAUTH = frozenset({400, 401, 415, 422})


def words_of(status: int) -> str:
    """Return what a status of a refusal says."""
    return _WORDS[status]


def refusals(*statuses: int, oauth: bool = False) -> Responses:
    """Return the description of refusals. With `oauth`, some have the form of RFC 6749 as well."""
    return {status: _described(status, oauth=oauth and status in _OAUTH) for status in statuses}


def _described(status: int, *, oauth: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"model": TokenError | HttpErrorBody if oauth else HttpErrorBody}
    described["description"] = _WORDS[status]
    if status == 413:
        described["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return described


BODY = (400, 413, 415, 422)
"""The refusals of a body, a form or JSON."""
