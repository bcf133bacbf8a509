"""The URLs that a routes file may name.

An error never quotes the URL, which may hold a password or a token.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import gethostname

MAX_LENGTH = 2048
LOCAL_NAMES = frozenset({"localhost", "localhost.", "ip6-localhost"})

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<user>[^/?#]*@)?"
    rf"(?P<host>\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][^#]*)?"
    r"(?P<fragment>#.*)?"
)

Address = tuple[str, int]
"""A host, as a name or an address, and a port."""


@dataclass(frozen=True)
class Url:
    """A URL that a request may go to."""

    text: str
    scheme: str
    host: str
    port: int

    @property
    def is_plain(self) -> bool:
        """Return whether others on the way can read it."""
        return self.scheme == "http"

    @property
    def is_near(self) -> bool:
        """Return whether it leads to this machine or to a private address."""
        if self.host in LOCAL_NAMES:
            return True
        address = _address(self.host)
        return address is not None and (address.is_loopback or address.is_private)

    def leads_to(self, addresses: Iterable[Address]) -> bool:
        """Return whether it names one of these sockets, which may listen on all addresses."""
        return any(port == self.port and self._is_host(host) for host, port in addresses)

    def _is_host(self, host: str) -> bool:
        mine, other = _address(self.host), _address(host)
        if mine is not None and mine == other:
            return True
        if other is None or not (other.is_loopback or other.is_unspecified):
            return self.host == host
        here = self.host in LOCAL_NAMES or (mine is not None and (mine.is_loopback or mine.is_unspecified))
        return here or (other.is_unspecified and self.host == gethostname().lower())


def parse(text: str) -> Url:
    """Return a URL, or raise `ValueError` with what was expected."""
    expected = "expected a URL such as http://127.0.0.1:9000/orders"
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{expected}, of at most {MAX_LENGTH} characters, got {len(text)}")
    if not text.isascii() or not text.isprintable() or re.search(r'[\s\\<>"{}|^`]', text):
        raise ValueError(f"{expected}, got one with a character that needs percent-encoding, such as %20 for a space")
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(expected)
    scheme = found["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{expected} or one with https, got another scheme")
    if found["user"]:
        raise ValueError(f"{expected} without a user name or password; the signature proves where a request comes from")
    if found["fragment"]:
        raise ValueError(f"{expected} without a fragment; leave out # and what follows")
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError(f"{expected} with a port from 1 to 65535")
    host = found["host"].strip("[]").lower()
    if found["host"].startswith("[") and _address(host) is None:
        raise ValueError(f"{expected}, got an address that is none")
    return Url(text, scheme, host, port)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
