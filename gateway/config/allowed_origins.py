"""Which origins of pages are allowed, one list for the WebSocket and for CORS.

Browsers have one way of writing an origin (RFC 6454 §6.2). Programs have others: they name the socket's own URL, with
`wss`, a port that goes without saying, or capitals. All of these are the same origin here.
"""

import re
from collections.abc import Iterable

_LABEL = r"[a-z0-9_-]+"
_WEB = rf"(?:https?|wss?)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?"
# Of apps, such as capacitor://localhost, app://. and file://, which has no host.
_APP = rf"(?!(?:https?|wss?):)[a-z][a-z0-9+.-]*://(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?|\.)?"
_ORIGIN = re.compile(rf"{_WEB}|{_APP}")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# Two labels or more, of which the last is no number: neither all of `com` nor half of an IPv4 address.
_WILDCARD = re.compile(rf"https?://\*\.(?:(?:{_LABEL}\.)+(?![0-9]+(?:$|:)){_LABEL}|localhost)(?::[0-9]{{1,5}})?")
_SOCKET_SCHEME = re.compile("^ws(?=s?://)")
_FIRST_LABEL = re.compile(rf"(?<=://){_LABEL}(?=\.)")


MAX_ORIGIN = 300
"""A host has at most 253 characters (RFC 1035 §2.3.4)."""


class AllowedOrigins:
    """The origins that `GATEWAY_ALLOWED_ORIGINS` names."""

    def __init__(self, named: Iterable[str]) -> None:
        self.named = tuple(named)
        self._folded = {folded(origin) or origin for origin in self.named}

    def allows(self, origin: str) -> bool:
        """Return whether an origin is named, or one label before a name that begins with `*.`."""
        name = folded(origin)
        return name is not None and (name in self._folded or _FIRST_LABEL.sub("*", name, count=1) in self._folded)

    def line_to_add(self, origin: str) -> str | None:
        """Write the line that would allow one more origin; None if it is not one that can be named."""
        name = folded(origin)
        return None if name is None else f"GATEWAY_ALLOWED_ORIGINS={','.join((*self.named, name))}"


def folded(origin: str) -> str | None:
    """Write an origin as a browser does: lower case, http for ws, without the scheme's own port; None if it is none."""
    origin = origin[: MAX_ORIGIN + 1].lower()
    if len(origin) > MAX_ORIGIN or _ORIGIN.fullmatch(origin) is None:
        return None
    return _without_default_port(_SOCKET_SCHEME.sub("http", origin))


def _without_default_port(origin: str) -> str:
    scheme, _, place = origin.partition("://")
    return f"{scheme}://{place.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def can_be_named(text: str) -> bool:
    """Return whether a setting may have this: an origin as a browser writes it, or `https://*.example.com`."""
    if _WILDCARD.fullmatch(text) is not None:
        return _without_default_port(text) == text
    return folded(text) == text
