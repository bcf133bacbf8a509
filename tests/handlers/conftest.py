"""Other users of the tests."""

from collections.abc import Callable

import pytest


@pytest.fixture
def carol(unique: Callable[[str], str]) -> str:
    """A third user of this test's own."""
    return unique("carol")


@pytest.fixture
def dave(unique: Callable[[str], str]) -> str:
    """A fourth user of this test's own."""
    return unique("dave")
