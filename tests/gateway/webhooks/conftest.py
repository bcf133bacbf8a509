"""A receiver for each test, and a look at what waits."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store import outgoing_events
from gateway.store.outgoing_events import Figures
from gateway.testing import Gateway
from gateway.webhooks import dispatcher, webhooks
from tests.support.receivers import Receiver, running_receiver


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a gateway look for due events and count them sooner than in production: these tests move its clock."""
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(webhooks, "COUNT_SECONDS", 0.1)
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.1)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of events."""
    async with running_receiver() as receiver:
        yield receiver


async def figures_of(gateway: Gateway, hook: str = "push") -> Figures:
    """Count what the store has for a hook."""
    found: dict[str, Figures] = await gateway.run(gateway.state.database.query(outgoing_events.figures))
    return found.get(hook, Figures())


async def is_empty(gateway: Gateway, hook: str = "push") -> bool:
    """Return whether nothing is left for a hook."""
    return await figures_of(gateway, hook) == Figures()


async def run_script(gateway: Gateway, script: Any) -> Any:
    """Run a script in the store of a gateway."""
    return await gateway.run(gateway.state.database.run_script(script))
