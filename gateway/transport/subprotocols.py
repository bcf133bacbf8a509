"""The WebSocket subprotocols that a client offers, and the one that the gateway answers."""

from collections.abc import Sequence

SUBPROTOCOL = "gateway.v1"

# Other servers' names for the place of a credential.
CREDENTIALS = frozenset(
    {"accesstoken", "authorization", "authtoken", "bearer", "bearertoken", "idtoken", "jwt", "ticket", "token"}
)
_LONGEST_NAME = 64


def chosen_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the gateway's subprotocol if the client offers it (RFC 6455 §4.2.2), and never the secret one."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def subprotocol_of_refusal(offered: Sequence[str]) -> str | None:
    """Return the same as `chosen_subprotocol`, or else an offered word that is certainly no secret.

    A browser drops a connection if the server answers none of its subprotocols, and then never learns the reason.
    """
    known = (name for name in offered if plain(name) in CREDENTIALS and "." not in name)
    return chosen_subprotocol(offered) or next(known, None)


def plain(name: str) -> str:
    """Return one form for `accessToken`, `access_token` and `Access-Token`; for `bearer.…`, the part before the dot."""
    return name[:_LONGEST_NAME].partition(".")[0].replace("_", "").replace("-", "").lower()
