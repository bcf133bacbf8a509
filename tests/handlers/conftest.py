"""Other users of the tests."""

from collections.abc import Callable

import pytest


@pytest.fixture
def carol(unique: Callable[[str], str]) -> str:
    """A third user for this test."""
    return unique("carol")


@pytest.fixture
def dave(unique: Callable[[str], str]) -> str:
    """A fourth user for this test."""
    return unique("dave")
