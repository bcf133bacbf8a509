"""What the tests of the store share."""

from collections.abc import AsyncIterator

import pytest

from gateway.store.engine import Database


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    """An empty store, up to date."""
    database = Database(store_url)
    await database.upgrade()
    yield database
    await database.close()
