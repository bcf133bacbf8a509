"""Where a request comes from."""

import getpass
import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import HTTPConnection

IPV6_PREFIX = 64
MAX_ADDRESS = 64
MAX_USER_AGENT = 200


@dataclass(frozen=True)
class Caller:
    """Who is on the other end, as far as the network tells."""

    address: str
    user_agent: str | None = None

    @property
    def network(self) -> str:
        """The address as limits count it."""
        return network_of(self.address)


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Give an address as limits count it: of IPv6, one machine has as many as it likes of the same /64 (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))


def address_of(connection: HTTPConnection) -> str:
    """Give the address that a connection is counted for."""
    return network_of(connection.client.host[:MAX_ADDRESS]) if connection.client else "unknown"


def caller_of(connection: HTTPConnection) -> Caller:
    """Tell where a request comes from: the address is a proxy's word only for proxies that a setting names."""
    # What a proxy passes on may be anything.
    address = connection.client.host[:MAX_ADDRESS] if connection.client else "unknown"
    user_agent = connection.headers.get("user-agent", "")[:MAX_USER_AGENT]
    return Caller(address, "".join(filter(str.isprintable, user_agent)) or None)


def operator() -> Caller:
    """Tell who runs a command on this machine."""
    try:
        return Caller("command", f"gateway, run by {getpass.getuser()}")
    except (KeyError, OSError):  # an account without a name, as containers have them
        return Caller("command", "gateway")
