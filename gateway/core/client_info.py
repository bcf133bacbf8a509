"""What the network shows of a request's sender: its address and its user agent."""

import getpass
import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command has no requests
    from starlette.requests import HTTPConnection
    from starlette.types import Scope

IPV6_PREFIX = 64
MAX_ADDRESS = 64
MAX_USER_AGENT = 200


@dataclass(frozen=True)
class ClientInfo:
    """What is known of the client that has sent a request."""

    address: str
    user_agent: str | None = None

    @property
    def network(self) -> str:
        """Return the address, grouped as the limits count it."""
        return network_of(self.address)


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return an address as the limits count it: an IPv6 address counts as its /64.

    One machine can have any number of addresses in its /64 (RFC 6177).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))


def address_in(scope: "Scope") -> str:
    """Return the address under which the limits count the connection of a scope."""
    client = scope.get("client")
    return network_of(client[0][:MAX_ADDRESS]) if client else "unknown"


def address_of(connection: "HTTPConnection") -> str:
    """Return the address under which the limits count a connection."""
    return address_in(connection.scope)


def client_info_of(connection: "HTTPConnection") -> ClientInfo:
    """Return where a request comes from. A proxy's word for it counts only if a setting names the proxy."""
    # A proxy may pass on any text, so both are cut.
    address = connection.client.host[:MAX_ADDRESS] if connection.client else "unknown"
    user_agent = connection.headers.get("user-agent", "")[:MAX_USER_AGENT]
    return ClientInfo(address, "".join(filter(str.isprintable, user_agent)) or None)


def operator() -> ClientInfo:
    """Return the entry for an operator that runs a command on this machine."""
    try:
        return ClientInfo("command", f"gateway, run by {getpass.getuser()}")
    except (KeyError, OSError):  # accounts in containers may have no name
        return ClientInfo("command", "gateway")
