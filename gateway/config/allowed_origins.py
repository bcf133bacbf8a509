"""The allowed origins of web pages: one list for the WebSocket and for CORS.

Browsers write an origin in one form (RFC 6454 §6.2). Other programs write the socket's own URL: with `wss`, with the
default port, or with capitals. This module treats all of these as the same origin.
"""

import re
from collections.abc import Iterable

_LABEL = r"[a-z0-9_-]+"
_WEB = rf"(?:https?|wss?)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?"
# Origins of apps, such as capacitor://localhost, app://. and file://, which has no host.
_APP = rf"(?!(?:https?|wss?):)[a-z][a-z0-9+.-]*://(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?|\.)?"
_ORIGIN = re.compile(rf"{_WEB}|{_APP}")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# At least two labels, and the last is no number: neither all of `com` nor half of an IPv4 address.
_WILDCARD = re.compile(rf"https?://\*\.(?:(?:{_LABEL}\.)+(?![0-9]+(?:$|:)){_LABEL}|localhost)(?::[0-9]{{1,5}})?")
_SOCKET_SCHEME = re.compile("^ws(?=s?://)")
_FIRST_LABEL = re.compile(rf"(?<=://){_LABEL}(?=\.)")


MAX_ORIGIN = 300
"""A host has at most 253 characters (RFC 1035 §2.3.4)."""


class AllowedOrigins:
    """The origins that `GATEWAY_ALLOWED_ORIGINS` names."""

    def __init__(self, named: Iterable[str]) -> None:
        self.named = tuple(named)
        self._normalized = {normalized_origin(origin) or origin for origin in self.named}

    def allows(self, origin: str) -> bool:
        """Return whether an origin is on the list, by name or as one label before the rest of a `*.` entry."""
        name = normalized_origin(origin)
        return name is not None and (
            name in self._normalized or _FIRST_LABEL.sub("*", name, count=1) in self._normalized
        )

    def line_to_add(self, origin: str) -> str | None:
        """Return the setting's line with this origin added, or None if no setting can name this origin."""
        name = normalized_origin(origin)
        return None if name is None else f"GATEWAY_ALLOWED_ORIGINS={','.join((*self.named, name))}"


def normalized_origin(origin: str) -> str | None:
    """Return an origin as a browser writes it: in lower case, http for ws, no default port. None if it is no origin."""
    origin = origin[: MAX_ORIGIN + 1].lower()
    if len(origin) > MAX_ORIGIN or _ORIGIN.fullmatch(origin) is None:
        return None
    return _without_default_port(_SOCKET_SCHEME.sub("http", origin))


def _without_default_port(origin: str) -> str:
    scheme, _, place = origin.partition("://")
    return f"{scheme}://{place.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def is_valid_pattern(text: str) -> bool:
    """Return whether the setting may name this: an origin as a browser writes it, or `https://*.example.com`."""
    if _WILDCARD.fullmatch(text) is not None:
        return _without_default_port(text) == text
    return normalized_origin(text) == text
