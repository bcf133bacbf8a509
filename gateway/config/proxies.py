"""Trusted proxies: what they report about a client is used, namely its address and whether it uses TLS.

A proxy appends the address that it sees to `X-Forwarded-For`. So the list is read from the right, as long as the
addresses belong to trusted proxies. Anything further left is an unproven claim of the client. `X-Forwarded-Proto` is
read at the same position. The application does this itself, so that every server gives the same result.
"""

import logging
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from gateway.core.request_watch import PEER

logger = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX = "unix"
"""Stands for an address: connections over a Unix socket have none."""

MAX_WARNINGS = 8
"""Untrusted addresses that the log names, each once. The number is bounded because any client may send the header."""

MAX_ADDRESS = 64
"""The longest text of an address."""

EXPECTED = (
    "expected addresses or networks of proxies, separated by commas, such as 10.0.0.5 or 10.0.0.0/8, or"
    f" {UNIX} for proxies at a Unix socket"
)

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_MAPPED_BITS = 96
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


class TrustedProxies:
    """The proxies that `GATEWAY_TRUSTED_PROXIES` names."""

    def __init__(self, text: str) -> None:
        """Parse addresses and networks that commas separate. Raise `ValueError` with what to write instead."""
        items = [item.strip() for item in text.split(",")] if text.strip() else []
        self._networks = tuple(_network(item) for item in items if item != UNIX)
        self._trusts_unix = UNIX in items
        self._trusts = lru_cache(maxsize=4096)(self._is_inside)
        self._warned: set[str] = set()

    def trusts(self, host: str) -> bool:
        """Return whether this is a trusted proxy's address. Connections from it belong to many clients."""
        return self._is_trusted(_address(host))

    def apply(self, scope: Scope) -> None:
        """Replace a scope's client and scheme by what a trusted proxy reports.

        An IPv4 address within IPv6, as a socket of `::` shows it, becomes plain IPv4 in any case.
        """
        host, port = scope.get("client") or ("", 0)
        peer, text = _parse_address(host) if len(host) <= MAX_ADDRESS else (None, host)
        if text != host:
            scope["client"] = (text, port)
        if _FORWARDED.isdisjoint([name for name, _ in scope["headers"]]):
            return
        forwarded = _values(scope, b"x-forwarded-for")
        if not self._is_trusted(peer):
            self._warn(peer, forwarded)
            return
        scope[PEER] = scope.get("client")
        hops = self._follow(scope, forwarded)
        if schemes := _values(scope, b"x-forwarded-proto"):
            _take_scheme(scope, schemes[-min(hops, len(schemes))])

    def _follow(self, scope: Scope, forwarded: list[str]) -> int:
        """Write the client's address into the scope, and return how many proxies have forwarded the request."""
        hops = 1
        for item in reversed(forwarded):
            host, port = _split(item)
            address = _address(host)
            if address is None:
                break  # a proxy that does not know the address, or a client that invented one
            scope["client"] = (str(address), port)
            if not self._is_trusted(address):
                break
            hops += 1
        return hops

    def _is_trusted(self, address: Address | None) -> bool:
        return self._trusts_unix if address is None else self._trusts(address)

    def _is_inside(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _warn(self, peer: Address | None, forwarded: list[str]) -> None:
        name = UNIX if peer is None else str(peer)
        if not forwarded or name in self._warned or len(self._warned) >= MAX_WARNINGS:
            return
        if any(_address(_split(item)[0]) == peer for item in forwarded):
            return  # the server has already applied the header
        self._warned.add(name)
        logger.warning(
            "the gateway ignores X-Forwarded-For from %s, which is no trusted proxy: all clients behind it count as one"
            " address; if it is your proxy, add GATEWAY_TRUSTED_PROXIES=%s",
            name,
            name,
        )


def _network(item: str) -> Network:
    """Return one item of the setting as a network."""
    try:
        network = ip_network("" if "%" in item else item)
    except ValueError:
        shown = repr(item[:MAX_ADDRESS]) if item else "nothing between two commas"
        raise ValueError(f"{EXPECTED}; got {shown}{_hint(item)}") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    if not network.prefixlen:
        raise ValueError(f"{EXPECTED}; got {item}: if every address is trusted, any client could claim any address")
    return network


def _hint(item: str) -> str:
    if item == "*":
        return "; name the proxy: with *, any client could claim any address"
    for sign, hint in _HINTS.items():
        if sign in item:
            return f"; {hint}"
    try:
        return f"; its network is {ip_network(item, strict=False)}"
    except ValueError:
        return "; write its address, since names are not looked up" if item[:1].isalpha() else ""


_HINTS = {
    "#": "put the comment on a line of its own",
    '"': "leave out the quotes",
    "'": "leave out the quotes",
    "%": "leave out the zone",
    "[": "leave out the brackets",
}


def _address(text: str) -> Address | None:
    """Return an address, IPv4 within IPv6 as IPv4, and without the zone of a link. None if it is no address."""
    return _parse_address(text)[0] if len(text) <= MAX_ADDRESS else None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> tuple[Address | None, str]:
    """Return what `_address` does, and the address as a text; a text that is no address stays as it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None, text
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address))
    return address, str(address)


def _values(scope: Scope, name: bytes) -> list[str]:
    """Return the non-empty items of a list that may be spread over several headers (RFC 9110 §5.3)."""
    lines: Iterable[bytes] = (value for key, value in scope["headers"] if key == name)
    return [item.strip() for item in b",".join(lines).decode("latin-1").split(",") if item.strip()]


def _split(item: str) -> tuple[str, int]:
    """Return an address and its port, which some proxies add, or 0 for no port."""
    if item.startswith("["):
        host, _, port = item[1:].partition("]")
        port = port.removeprefix(":")
    elif item.count(":") == 1:
        host, _, port = item.partition(":")
    else:
        host, port = item, ""
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


def _take_scheme(scope: Scope, forwarded: str) -> None:
    scheme = _SCHEMES.get(forwarded.lower())
    if scheme is not None:
        scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
