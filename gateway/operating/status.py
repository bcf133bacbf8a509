"""`gateway status`: what a node is and does, in numbers that grow, so that the command can take their difference."""

import multiprocessing
import os
import platform
import socket
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.config import bus_url, database_url
from gateway.connections.fanout import deliveries
from gateway.core import descriptors, faults, worker_place
from gateway.core.local_socket import Data
from gateway.http.health import readiness_of
from gateway.operating.all_nodes import AllNodes, Nothing
from gateway.operating.log_levels import LogLevels
from gateway.state import GatewayState

MAX_NAMES = 100
"""The most hooks, and routes, of a node's answer, which the bus must carry."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class Identity:
    """Which process this is."""

    node: str
    started: float
    """On the steady clock."""

    def described(self) -> Data:
        """Return what a command needs to know of a process before it asks any more."""
        parent = multiprocessing.parent_process()
        return {
            "node": self.node,
            "pid": os.getpid(),
            "supervisor": None if parent is None else parent.pid,
            "worker": None if worker_place.mine is None else worker_place.mine.number,
            "host": socket.gethostname(),
            "version": __version__,
        }


class StatusQuestions:
    """Answers how this node is."""

    def __init__(self, state: GatewayState, log_levels: LogLevels, all_nodes: AllNodes) -> None:
        self._state = state
        self._log_levels = log_levels
        self._identity = Identity(state.bus.node, state.clock.steady())
        state.local_socket.serve("identity", self._described)
        all_nodes.serve("status", Nothing, self._status)

    async def _described(self, _: Data) -> Data:
        return self._identity.described()

    async def _status(self, _: Nothing) -> Data:
        state = self._state
        return {
            **self._identity.described(),
            "python": platform.python_version(),
            "uptime_seconds": round(state.clock.steady() - self._identity.started, 1),
            "health": (await readiness_of(state)).model_dump(exclude_none=True),
            "store": database_url.redacted(state.settings.store_url),
            "bus": _place_of_bus(state.settings.bus_url),
            "draining": state.connections.is_draining,
            "log_levels": self._log_levels.levels,
            "now": self._now(),
            "since_start": self._since_start(),
            "hooks": _hooks(state),
            "routes": dict(list(state.upstreams.breakers.items())[:MAX_NAMES]),
        }

    def _now(self) -> dict[str, int | None]:
        state = self._state
        return {
            "connections": state.connections.count,
            "newcomers_waiting": state.newcomers.waiting,
            "rooms_heard": state.hub.room_count,
            "writes_waiting": state.log.waiting,
            "bus_waiting": state.bus.waiting,
            "route_workers": state.workers.figures.connections,
            "memory_bytes": _memory_bytes(),
            "descriptors": _open_descriptors(),
            "descriptors_limit": descriptors.limit(),
        }

    def _since_start(self) -> dict[str, int]:
        counters, bus = self._state.counters, self._state.bus.counters
        failed = sum(each.statuses.total() for each in (*counters.answered.values(), *counters.called.values()))
        return {
            "messages": counters.handled.total(),
            "deliveries": deliveries.events,
            "errors": failed + counters.unread.total(),
            "connections_ended": counters.ended.total(),
            "newcomers_refused": self._state.newcomers.refused.total(),
            "bus_published": bus.published,
            "bus_received": bus.received,
            "bus_dropped": bus.dropped,
            "faults": faults.counters.total(),
        }


def _place_of_bus(url: str) -> str:
    return url if url == bus_url.MEMORY else bus_url.parse(url).place


def _hooks(state: GatewayState) -> dict[str, dict[str, Any]]:
    found = sorted(state.webhooks.state().items())[:MAX_NAMES]
    return {
        name: {"waiting": hook.waiting, "parked": hook.parked, "disabled": hook.is_disabled} for name, hook in found
    }


def _memory_bytes() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def _open_descriptors() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
