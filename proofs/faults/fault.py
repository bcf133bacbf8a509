"""One fault: how it is made, how it ends, and what the gateway is held to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from proofs.bar import Scale
from proofs.faults.site import Site

S = TypeVar("S", bound=Site)


async def _nothing(site: Site) -> None:
    """Do nothing."""


async def _wait(site: Site, seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


async def _no_doubt(site: Site) -> str:
    """Say nothing: what makes this fault raises an exception if it fails."""
    return ""


@dataclass(frozen=True)
class Fault(Generic[S]):
    """Something that breaks at a site, for some seconds."""

    name: str
    about: str
    make: Callable[[S], Awaitable[None]] = _nothing
    end: Callable[[S], Awaitable[None]] = _nothing
    short: float = 6.0
    full: float = 20.0
    back: float = 15.0
    """Within how many seconds after its end all nodes must be ready and take a message."""
    silence: float | None = None
    """For how many seconds, at most, nothing may be acknowledged meanwhile: what strikes one node spares the others."""
    most: int | None = None
    """How many requests may be acknowledged meanwhile, where nothing can be stored: they were on the way."""
    cuts_clients: bool = False
    """Whether clients lose their connections, so that some must resume."""
    doubt: Callable[[S], Awaitable[str]] = _no_doubt
    """Look before its end whether it took hold, and say what speaks against that: an empty text if nothing does."""
    happens_often: bool = False
    """Whether `short` and `full` say how often it happens, and not for how long."""
    last: Callable[[S, float], Awaitable[None]] = _wait
    """What happens between the two: by default a wait of `short` or `full` seconds."""

    def amount(self, scale: Scale) -> float:
        """Return how long it lasts, or how often it happens."""
        return self.short if scale is Scale.SHORT else self.full

    def times(self, scale: Scale) -> int:
        """Return how often it happens."""
        return int(self.amount(scale)) if self.happens_often else 1


@dataclass(frozen=True)
class Place(Generic[S]):
    """A kind of site, with the faults that happen there one after the other."""

    name: str
    open: Callable[[Sequence[str]], AbstractAsyncContextManager[S]]
    """Start the site, with rooms for the faults of these names."""
    faults: Sequence[Fault[S]]
