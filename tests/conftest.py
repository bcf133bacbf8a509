"""Fixtures: a shared gateway for most tests, and one of one's own for those that need other settings."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.client import App
from tests.server import Gateway, running_gateway, settings_for_tests

_numbers = itertools.count(1)

OwnGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that all tests share; their users and rooms have names of their own."""
    with running_gateway(settings_for_tests(tmp_path_factory.mktemp("shared"))) as running:
        yield running


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    """An app that uses the shared gateway."""
    async with App(gateway) as app:
        yield app


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[OwnGateway]:
    """Start gateways of this test's own: `own_gateway(handlers=…, options=…, any_setting=…)`."""
    with ExitStack() as stack:

        def start(*, handlers: Any = None, options: dict[str, Any] | None = None, **changes: Any) -> Gateway:
            extra: dict[str, Any] = {} if handlers is None else {"handlers": handlers}
            running: AbstractContextManager[Gateway] = running_gateway(
                settings_for_tests(tmp_path, **changes), options=options, **extra
            )
            return stack.enter_context(running)

        yield start


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Make names that no other test uses."""
    return lambda name: f"{name}-{next(_numbers)}"


@pytest.fixture
def room(unique: Callable[[str], str]) -> str:
    """A room of this test's own."""
    return unique("room")


@pytest.fixture
def alice(unique: Callable[[str], str]) -> str:
    """A user of this test's own."""
    return unique("alice")


@pytest.fixture
def bob(unique: Callable[[str], str]) -> str:
    """Another user of this test's own."""
    return unique("bob")
