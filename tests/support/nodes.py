"""Several gateways with one store and one bus, which are one gateway to their users."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.support.valkey import Valkey

SECRET = "what every node signs with: 0123456789"


@contextmanager
def running_nodes(
    folder: Path, store_url: str, bus: Valkey | str, *, count: int = 2, **changes: Any
) -> Iterator[list[Gateway]]:
    """Start gateways that share a store, a bus and a signing key, and stop them at the end."""
    url = bus if isinstance(bus, str) else bus.url
    shared = {"database_url": store_url, "bus_url": url, "secret_key": SECRET} | changes
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_gateway(settings_for_tests(folder / f"node-{number}", **shared)))
            for number in range(1, count + 1)
        ]
