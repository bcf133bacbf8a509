"""Hosts that lie on this machine or in its network, as their name or address alone shows."""

import re
from ipaddress import ip_address

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def is_internal(host: str) -> bool:
    """Return whether a host is no address of the public internet. Any name passes, except those of this machine."""
    bare = host.rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return not ip_address(bare).is_global
    except ValueError:
        # `getaddrinfo` reads 127.1, 0x7f.1 and 2130706433 as addresses; no public name ends in a number.
        return _NUMBER.fullmatch(bare.rpartition(".")[2]) is not None
