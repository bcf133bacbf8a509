"""The address and user agent of a request."""

import pytest
from starlette.requests import HTTPConnection

from gateway.core.client_info import address_of


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("a:socket", "a:socket"),
        (None, "unknown"),
    ],
)
def test_of_an_ipv6_address_the_network_counts(client: str | None, address: str) -> None:
    scope = {"type": "http", "client": None if client is None else (client, 1)}
    assert address_of(HTTPConnection(scope)) == address
