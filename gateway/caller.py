"""Where a request comes from."""

import getpass
import ipaddress
from dataclasses import dataclass

from starlette.requests import HTTPConnection

MAX_ADDRESS = 64
MAX_USER_AGENT = 200


@dataclass(frozen=True)
class Caller:
    """Who is on the other end, as far as the network tells."""

    address: str
    user_agent: str | None = None

    @property
    def network(self) -> str:
        """The address as limits count it: of IPv6, one machine has as many as it likes of the same /64."""
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


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
