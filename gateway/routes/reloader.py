"""Follows changes of the routes file, so that routes change without a restart.

A wrong new file leaves the routes as they were. So does a file that is still being written: a change counts once two
looks, a second apart, have found the same files. `reload` takes the file as it is, because SIGHUP says it is complete.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Self

from gateway.config.settings import Settings
from gateway.core.faults import contained
from gateway.core.periodic import Periodic
from gateway.core.start_error import StartError
from gateway.routes.file import Reading, WrongRoutes, read
from gateway.routes.model import NO_ROUTES, Routes
from gateway.routes.source import Stamps, stamp
from gateway.routes.surroundings import Surroundings
from gateway.routes.urls import Address
from handlers.registry import Registry

logger = logging.getLogger(__name__)

REREAD_SECONDS = 5.0
"""Seconds between two looks at the files."""

SETTLE_SECONDS = 1.0
"""Seconds for which a changed file must stay the same."""

OnChange = Callable[[Routes], None]
Outcome = Literal["ok", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "refused")


class RoutesReloader:
    """Holds the routes in use, and reports when they change."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        """Read the file of `GATEWAY_ROUTES`, if any, or raise `StartError` with a line for each mistake."""
        self._path = settings.routes
        self._settings = settings
        self._registry = registry
        self._addresses: list[Address] = []
        self._listeners: list[OnChange] = []
        self._changed: Stamps | None = None
        """The files at the last look, if they differed from those that were read."""
        self._reading = asyncio.Lock()
        self.outcomes: Counter[Outcome] = Counter()
        """How the readings after the first have ended."""
        first = Reading(NO_ROUTES, {}) if self._path is None else self._read(self._path)
        self.current = first.routes
        """The routes in use: another object after each good reading, whether or not anything has changed."""
        self._read_files = first.stamps

    def on_change(self, listener: OnChange) -> None:
        """Call this function with the new routes after each change, in the loop of the gateway."""
        self._listeners.append(listener)

    def serves_at(self, address: Address) -> None:
        """Refuse URLs that lead to this address from now on: this process listens there."""
        self._addresses.append(address)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Look every few seconds whether the files have changed."""
        if self._path is None:
            yield self
            return
        async with Periodic("routes", self._pause, self.reload_if_changed):
            yield self

    def _pause(self) -> float:
        return REREAD_SECONDS if self._changed is None else SETTLE_SECONDS

    async def reload_if_changed(self) -> None:
        """Read the file again if it has changed and has been left alone since the last look."""
        now = await asyncio.to_thread(_stamps, self._read_files)
        if now == self._read_files:
            self._changed = None
        elif now != self._changed:
            self._changed = now
        else:
            await self.reload()

    async def reload(self) -> None:
        """Read the file again now. If it is wrong, log that and keep the routes."""
        if self._path is None:
            return
        async with self._reading:
            self._changed = None
            before = await asyncio.to_thread(_stamps, self._read_files)
            try:
                reading = await asyncio.to_thread(self._read, self._path)
            except WrongRoutes as error:
                # The schemas of the routes in use stay watched: the next file may name them again.
                self._read_files = {**before, **error.stamps}
                self._refuse(error)
            else:
                self._read_files = reading.stamps
                self._use(reading.routes)

    def _read(self, path: Path) -> Reading:
        try:
            surroundings = Surroundings.of(self._settings, self._registry, self._addresses)
        except StartError as error:
            raise WrongRoutes(str(error), {path: stamp(path)}) from None
        return read(path, surroundings)

    def _refuse(self, error: WrongRoutes) -> None:
        self.outcomes["refused"] += 1
        for line in str(error).splitlines():
            logger.error("the routes stay as they were: %s", line)

    def _use(self, routes: Routes) -> None:
        self.outcomes["ok"] += 1
        before, self.current = self.current, routes
        if routes == before:
            logger.info("read the routes again: nothing has changed")
            return
        authorize = "with" if routes.authorize else "without"
        logger.info(
            "read the routes again: %d routes, %d hooks, %s [authorize]",
            len(routes.routes),
            len(routes.hooks),
            authorize,
        )
        for listener in self._listeners:
            with contained("routes"):
                listener(routes)


def _stamps(files: Iterable[Path]) -> Stamps:
    return {path: stamp(path) for path in files}
