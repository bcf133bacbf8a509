"""Noticing two gateways that should know of each other and do not, such as uvicorn's workers without a bus."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.file_lock import FileLock

logger = logging.getLogger(__name__)

LOCK_NAME = "alone.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a data folder, and warn if another gateway does so already."""
    with FileLock(folder / LOCK_NAME) as lock:
        if not lock.take(shared=False):
            logger.warning(
                "another gateway serves from %s as well; without a bus, what is said on one is not heard on the other:"
                " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379",
                folder,
            )
        yield
