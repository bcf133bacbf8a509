"""The configurations of schemathesis: which statuses an answer may have, for each kind of client."""

from gateway.config.external_services import LOCAL
from proofs.http.clients import Client

STRICT, RANDOM = "strict", "random"

_ACCEPTED = ("2xx", "403", "404", "409", "410", "415", "503")
_REJECTED = ("400", "403", "404", "405", "406", "409", "415", "422", "428", "429", "503")
_UNKNOWN = "401"
_BY_RULES = ("400", "422")

_LOCAL = ("[parameters]", f"'query.service' = \"{LOCAL}\"")
"""A credential is good for one service, which a request may name. For another one, 401 would be right."""

OTHER_CREDENTIALS = ("/token", "/token/introspect", "/metrics")
"""The paths where 401 is about another credential: one of the form, that of a service, and the monitor's token."""


def configuration(kind: str, client: Client) -> str:
    """Return the text of a configuration. A client that is known may get 401 only for another credential."""
    # Random values find rules that are in words only, such as that a piece may be empty with `done` alone.
    accepted = _ACCEPTED if kind == STRICT else (*_ACCEPTED, *_BY_RULES)
    own = () if client.is_known else (_UNKNOWN,)
    # A schema cannot say which rooms and positions there are, that names differ, and that no string has U+0000.
    parts = [
        *(_LOCAL if client.is_known else ()),
        "[checks]",
        *_checks((*accepted, *own), (*_REJECTED, *own)),
        *_operation("/call/room.resume", (*accepted, *own, *_BY_RULES), (*_REJECTED, *own)),
    ]
    for path in OTHER_CREDENTIALS:
        parts += _operation(path, (*accepted, _UNKNOWN), (*_REJECTED, _UNKNOWN))
    return "\n".join(parts) + "\n"


def _operation(path: str, accepted: tuple[str, ...], rejected: tuple[str, ...]) -> list[str]:
    return ["[[operations]]", f'include-path = "{path}"', *_checks(accepted, rejected, "checks.")]


def _checks(accepted: tuple[str, ...], rejected: tuple[str, ...], prefix: str = "") -> list[str]:
    return [
        f"{prefix}positive_data_acceptance.expected-statuses = {list(dict.fromkeys(accepted))}",
        f"{prefix}negative_data_rejection.expected-statuses = {list(dict.fromkeys(rejected))}",
    ]
