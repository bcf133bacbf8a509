"""The address of a gateway, from a URL that a person types."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.core.start_error import StartError

_SCHEMES = {"ws": ("http", "ws"), "http": ("http", "ws"), "wss": ("https", "wss"), "https": ("https", "wss")}


@dataclass(frozen=True)
class GatewayAddress:
    """The base URLs of a gateway's HTTP API and WebSocket, without a slash at the end."""

    http: str
    ws: str
    local: bool
    """Whether it is on this machine, so that no proxy is needed."""


def gateway_at(url: str) -> GatewayAddress:
    """Return the address of the gateway at a typed URL, or raise `StartError`."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in _SCHEMES:
        raise StartError("URL: expected one such as ws://127.0.0.1:8000 or https://example.com/gateway")
    if "@" in url or parts.query or parts.fragment:
        raise StartError("URL: expected no user, query or fragment; put the name in --user; you type the password")
    http, ws = _SCHEMES[parts.scheme]
    rest = f"://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ws/chat')}"
    return GatewayAddress(http + rest, ws + rest, _is_local(host))


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
