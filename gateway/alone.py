"""Noticing two gateways that should know of each other and do not, such as uvicorn's workers without a bus."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

LOCK_NAME = "alone.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a data folder, and warn if another gateway does so already. It is let go of also when this one is killed."""
    if sys.platform == "win32":
        yield
        return
    with (folder / LOCK_NAME).open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            logger.warning(
                "another gateway serves from %s as well; without a bus, what is said on one is not heard on the other:"
                " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379",
                folder,
            )
        yield
