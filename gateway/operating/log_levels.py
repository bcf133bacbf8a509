"""`gateway log-level`: how much a running gateway logs, for some time or until its end."""

import asyncio
import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

from pydantic import Field

from gateway.core.audit import Audit
from gateway.core.local_socket import Data
from gateway.core.logs import TRACE
from gateway.operating.all_nodes import AllNodes, Question
from gateway.operating.asking import asked_by

RESET = "reset"
LEVELS = ("critical", "error", "warning", "info", "debug", "trace", RESET)
MAX_SECONDS = 7 * 24 * 3600
MAX_LEVELS = 100
"""Loggers that have another level than at the start."""

logger = logging.getLogger(__name__)


class SetLevel(Question):
    """A level, or `reset` for that of the start; the logger, or an empty name for all; and for how long."""

    level: Literal["critical", "error", "warning", "info", "debug", "trace", "reset"]
    logger: str = Field(default="", max_length=200, pattern=r"^[A-Za-z0-9_.-]*$")
    seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS)


class LogLevels:
    """Changes the levels of this process's loggers, and restores them."""

    def __init__(self, audit: Audit, all_nodes: AllNodes) -> None:
        self._audit = audit
        self._before: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        all_nodes.serve("log-level", SetLevel, self._set, note=self._note)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Restore all levels at the end: the process may be an application's, and go on."""
        try:
            yield self
        finally:
            for name in tuple(self._before):
                self._restore(name)

    @property
    def levels(self) -> dict[str, str]:
        """Return the levels in use that an operator has set, and that of all loggers under an empty name."""
        return {"": _name_of(logging.getLogger())} | {name: _name_of(logging.getLogger(name)) for name in self._before}

    async def _set(self, asked: SetLevel) -> Data:
        target = logging.getLogger() if not asked.logger else _known(asked.logger)
        is_known = asked.level == RESET or asked.logger in self._before
        if target is None or (len(self._before) >= MAX_LEVELS and not is_known):
            known = [name for name in logging.root.manager.loggerDict if name.startswith("gateway")]
            return {"is_set": False, "like": difflib.get_close_matches(asked.logger, known, 1)}
        before = _name_of(target)
        if asked.level == RESET:
            # Without a name, those of single loggers too: an operator may have forgotten them.
            for name in [asked.logger] if asked.logger else list(self._before):
                self._restore(name)
        else:
            self._apply(target, asked)
        return {"is_set": True, "before": before, "now": _name_of(target)}

    def _apply(self, target: logging.Logger, asked: SetLevel) -> None:
        name = asked.logger
        self._stop_timer(name)
        self._before.setdefault(name, target.level)
        target.setLevel(TRACE if asked.level == "trace" else asked.level.upper())
        if asked.seconds is not None:
            self._timers[name] = asyncio.get_running_loop().call_later(asked.seconds, self._restore, name)

    def _restore(self, name: str) -> None:
        self._stop_timer(name)
        before = self._before.pop(name, None)
        if before is not None:
            target = logging.getLogger(name)
            target.setLevel(before)
            logger.warning("the level of %s is %s again", name or "all loggers", _name_of(target))

    def _stop_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def _note(self, asked: SetLevel, nodes: dict[str, Data]) -> None:
        if any(each.get("is_set") for each in nodes.values()):
            seconds = None if asked.seconds is None else round(asked.seconds)
            self._audit.record(
                "log_level_set", asked_by(), level=asked.level, logger=asked.logger or None, seconds=seconds
            )


def _known(name: str) -> logging.Logger | None:
    """Return a logger that the process has, or one above such loggers. A wrong name would be a level for nothing."""
    return logging.getLogger(name) if name in logging.root.manager.loggerDict else None


def _name_of(target: logging.Logger) -> str:
    level = target.getEffectiveLevel()
    return "trace" if level == TRACE else logging.getLevelName(level).lower()
