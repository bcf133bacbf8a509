"""Warns when two gateways share a data folder without a bus, as uvicorn's workers would.

Without a bus, each gateway serves its own connections only, and neither knows of the other.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.file_lock import FileLock

logger = logging.getLogger(__name__)

LOCK_NAME = "alone.lock"


@contextmanager
def lock_data_dir(folder: Path) -> Iterator[None]:
    """Lock a data folder, and warn if another gateway has locked it."""
    with FileLock(folder / LOCK_NAME) as lock:
        if not lock.acquire(shared=False):
            logger.warning(
                "another gateway serves from %s as well; without a bus, users of one miss the messages of the other:"
                " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379",
                folder,
            )
        yield
