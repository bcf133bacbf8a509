"""The audit log: JSON lines about log-ins, refusals and revocations, in a file of their own.

A line has the time, the event, its user, the address and the request's id. It never has a password or a token. It
never has a name without a user either, because people type passwords into the wrong field. A thread writes the lines,
and opens the file again when logrotate has moved it away. Lines that one client repeats are folded.
"""

import json
import logging
import os
import queue
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import QueueListener, WatchedFileHandler
from pathlib import Path
from typing import Any, NamedTuple, Self

from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock
from gateway.core.folding import Folding, LeftOut
from gateway.core.logs import client_request_id, request_id
from gateway.core.start_error import StartError
from gateway.core.taps import Taps

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Lines that may wait for the disk."""

LINES_A_MINUTE = 20
"""Lines of one event, user and address: more than people cause, and the default rate of log-ins of an address."""

REPEATABLE = frozenset(
    {
        *("log_in", "log_in_failed", "log_out", "password_change_failed", "registered"),
        *("refreshed", "refresh_repeated", "refresh_refused"),
        *("service_refused", "service_token_granted"),
    }
)
"""Events that a client can repeat at will. The log gets the first lines of a minute, and counts the others."""


REASONED = frozenset({"log_in_failed", "password_change_failed", "service_refused"})
"""Events with a reason that is one of a few words."""


class _Kind(NamedTuple):
    event: str
    user_id: str | None


class Audit:
    """Record the events that an auditor asks for."""

    def __init__(self, path: Path | None, clock: Clock, taps: Taps | None = None) -> None:
        """Open the file, or raise `StartError` if it is not writable. Without a `path` nothing is recorded."""
        self._taps = taps
        self._clock = clock
        self.counts: Counter[tuple[str, str]] = Counter()
        """Events since the start, by name and, for those of `REASONED`, by reason."""
        self._folding = Folding(LINES_A_MINUTE)
        self._lines: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING)
        self._listener: QueueListener | None = None
        if path is not None:
            try:
                self._file = _PrivateFile(path)
            except OSError as error:
                raise StartError(
                    f"cannot write the audit log {path} ({error.strerror});"
                    " make it writable, or set GATEWAY_AUDIT_LOG to another file or to off"
                ) from None
            self._listener = QueueListener(self._lines, self._file)
            self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the waiting lines, and close the file."""
        if self._listener is not None:
            self._say_left_out(self._folding.left_out())
            self._listener.stop()
            self._listener = None
            with suppress(OSError):  # the log has named the lines that could not be written
                self._file.close()

    def record(
        self,
        event: str,
        client: ClientInfo,
        *,
        user: str | None = None,
        user_id: str | None = None,
        session: str | None = None,
        **more: str | int | None,
    ) -> None:
        """Record an event. This never waits and never raises."""
        self.counts[event, str(more.get("reason", "")) if event in REASONED else ""] += 1
        if self._taps is not None and self._taps.is_open:
            facts: dict[str, Any] = {"user": user, "user_id": user_id, "session": session, "address": client.address}
            self._taps.note(event, **facts | more)
        if self._listener is None:
            return
        now = self._clock.steady()
        self._say_left_out(self._folding.left_out(now))
        if event in REPEATABLE and not self._folding.admits(_Kind(event, user_id), client.address, now):
            return
        self._put(
            event=event,
            user=user,
            user_id=user_id,
            session=session,
            address=client.address,
            user_agent=client.user_agent,
            request_id=request_id.get(),
            client_request_id=client_request_id.get(),
            **more,
        )

    def _say_left_out(self, left_out: list[LeftOut]) -> None:
        for kind, address, lines in left_out:
            assert isinstance(kind, _Kind)  # noqa: S101 - made by `record`
            self._put(event="left_out", of=kind.event, user_id=kind.user_id, address=address, lines=lines)

    def _put(self, **entry: str | int | None) -> None:
        time = datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time} | {name: value for name, value in entry.items() if value is not None})
        try:
            self._lines.put_nowait(logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None))
        except queue.Full:
            logger.error("the audit log cannot keep up, and misses: %s", line)  # noqa: TRY400 - it gives the reason


class _PrivateFile(WatchedFileHandler):
    """A file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding="utf-8", opener=opener)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Log the error with the line itself, which would be lost otherwise."""
        logger.exception("cannot write to the audit log: %s", record.getMessage())
