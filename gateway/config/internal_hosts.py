"""Hosts that lie on this machine or in its network, as their name or address alone shows."""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)

# RFC 6761, RFC 6762, RFC 8375, and what ICANN and private networks keep for themselves.
_PRIVATE_ENDS = frozenset({"localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa", "svc"})

_NAT64 = IPv6Network("64:ff9b::/96")


def is_internal(host: str) -> bool:
    """Return whether a host is no address of the public internet, or a name that only a private network has."""
    try:
        # As a request writes it: `ⓛocalhost` and `１２７。0。0。1` have another form in Unicode.
        bare = host.encode("idna").decode().rstrip(".").lower()
    except UnicodeError:
        return True
    try:
        return not _is_public(ip_address(bare))
    except ValueError:
        labels = bare.split(".")
        # `getaddrinfo` reads 127.1, 0x7f.1 and 2130706433 as addresses; no public name ends in a number.
        return (
            len(labels) == 1
            or _NUMBER.fullmatch(labels[-1]) is not None
            or not _PRIVATE_ENDS.isdisjoint({labels[-1], ".".join(labels[-2:])})
        )


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        # Each has an IPv4 address in it, where the packets go.
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return inside.is_global
    return address.is_global
