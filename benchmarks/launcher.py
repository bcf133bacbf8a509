"""Starts gateways quickly: imports once, then forks a process for each life.

Each life is the command `gateway serve` with the arguments of this program, in its own process. A line `start` on
standard input begins one, and the answer is its pid. The answer to a line `wait` comes after its end. The end of the
input ends everything, so no process outlives the benchmark.
"""

import os
import signal
import sys
from contextlib import suppress

from gateway.cli import main, run  # noqa: F401 - the command would import `run` in each life


def serve_lives() -> None:
    """Start and await lives as the input's lines say."""
    pid = 0
    try:
        for line in sys.stdin:
            if line == "start\n":
                pid = os.fork()
                if not pid:
                    _live()
                print(pid, flush=True)
            elif line == "wait\n":
                _, status = os.waitpid(pid, 0)
                pid = 0
                print(os.waitstatus_to_exitcode(status), flush=True)
    finally:
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _live() -> None:
    # The pipes belong to the launcher: the gateway's output must not mix with its answers.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    try:
        main()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        os._exit(0)  # never back into the launcher's loop


if __name__ == "__main__":
    serve_lives()
