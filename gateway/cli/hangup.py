"""SIGHUP: a request to read the files again, unless it says that the terminal of this process was closed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def at_hangup(reread: Callable[[], object]) -> Iterator[None]:
    """Call a function at each SIGHUP. A process in a terminal stops when the terminal is closed, unless under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        if stops_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            reread()

    before = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def pass_on(pid: int | None) -> None:
    """Send SIGHUP to a child, if it lives."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
