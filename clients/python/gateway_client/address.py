"""The address of a gateway's WebSocket, from the URL that a program has."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PATH = "/ws/chat"
_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


@dataclass(frozen=True)
class Address:
    """The whole URL of the WebSocket, and a form of it without the query, which is safe to print."""

    url: str
    shown: str
    local: bool
    """Whether it is on this machine, so that no proxy is needed."""


def address_of(url: str, *, service: str | None = None, rooms: bool = False) -> Address:
    """Return the address of the gateway at a URL: its origin, a prefix of its path, or the whole path.

    Raise `ValueError` for another URL.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # also a name that is none
        host = None
    if not host or parts.scheme not in _SCHEMES or "@" in parts.netloc or parts.fragment:
        raise ValueError("url: expected one such as https://example.com or ws://127.0.0.1:8000, without a user")
    path = parts.path.rstrip("/")
    whole = path if path.endswith(PATH) else path + PATH
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "token" in query or "ticket" in query:
        raise ValueError("url: expected no token in it, because logs contain URLs; use token= or get_token=")
    query |= {"service": service} if service is not None else {}
    query |= {"rooms": "1"} if rooms else {}
    shown = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, whole, "", ""))
    return Address(f"{shown}?{urlencode(query)}" if query else shown, shown, _is_local(host))


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
