"""The command `gateway`, as a shell runs it: its own process in its own folder."""

import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support.forked import Forked, can_fork

WAIT_SECONDS = 60
PASSWORD = "correct horse battery staple"

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-plugin-autoload")
"""For `python` and `check`: loading the plugins of this environment takes longer than most tests."""

Environment = dict[str, str]


def environment(folder: Path, **variables: str) -> Environment:
    """The variables of the test's own shell, with a data folder below `folder` and the cheapest hashes."""
    # Compiled once for all: each of more than a hundred processes would otherwise compile the same source.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    inherited = {name: value for name, value in inherited.items() if not name.startswith("GATEWAY_")}
    return inherited | {
        "GATEWAY_DATA_DIR": str(folder / "data"),
        "GATEWAY_PASSWORD_ROUNDS": "4",
        "GATEWAY_LOGIN_RATE_PER_USER": "0",
        "GATEWAY_LOGIN_RATE_PER_ADDRESS": "0",
        "GATEWAY_REQUEST_RATE": "0",
        "GATEWAY_REGISTRATION_RATE_PER_ADDRESS": "0",
        "GATEWAY_LOGIN_BACKOFF_SECONDS": "0",
        "COLUMNS": "80",
        **variables,
    }


def words(*arguments: str) -> list[str]:
    """What a shell runs for `gateway …`."""
    return [sys.executable, "-m", "gateway", *arguments]


def started(*arguments: str, env: Environment, forks: bool = True, **options: Any) -> subprocess.Popen[bytes]:
    """Start `gateway …`, as a fork if that is as a new process is; a test about starts wants none."""
    if forks and can_fork(env):
        return Forked(*arguments, env=env, **options)
    return subprocess.Popen(words(*arguments), env=env, **options)


@dataclass(frozen=True)
class Result:
    """How a command has ended."""

    status: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one line of its complaint."""
        assert self.status == 1, self
        assert self.out == "", self
        (line,) = self.err.splitlines()
        assert line.startswith("gateway: "), self
        return line.removeprefix("gateway: ")


def run(folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Result:
    """Run `gateway …` to its end, with `typed` on standard input and without a terminal."""
    process = started(
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder, **variables),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(typed if isinstance(typed, bytes) else typed.encode(), WAIT_SECONDS)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, out.decode(), err.decode())


def python(folder: Path, *arguments: str, **variables: str) -> Result:
    """Run Python in a folder to its end, with `-m` and a module, or with a file."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def check(folder: Path, *command: str) -> None:
    """Run Python like `python`, and expect that it succeeds."""
    done = python(folder, *command)
    assert done.status == 0, (command, done)


@dataclass(frozen=True)
class Command:
    """A command to run in parallel with others."""

    folder: Path
    arguments: tuple[str, ...]
    typed: str | bytes = ""
    variables: tuple[tuple[str, str], ...] = ()


def command(folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Command:
    """Remember what to run, with the arguments of `run`."""
    return Command(folder, arguments, typed, tuple(variables.items()))


def run_all(*commands: Command) -> list[Result]:
    """Run independent commands, two at a time."""

    def one(each: Command) -> Result:
        return run(each.folder, *each.arguments, typed=each.typed, **dict(each.variables))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, commands))


class Output:
    """The output of a process, line by line, as it arrives."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Return all of it so far."""
        with self._more:
            return "".join(self._lines)

    def expect(self, part: str) -> str:
        """Wait for a line with this part, and return it."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._more:
            seen = 0
            while True:
                for line in self._lines[seen:]:
                    if part in line:
                        return line
                seen = len(self._lines)
                assert not self._ended, f"it ended without {part!r}:\n" + "".join(self._lines)
                assert self._more.wait(deadline - time.monotonic()), f"no {part!r} in:\n" + "".join(self._lines)

    def close(self) -> None:
        """Wait for its end."""
        self._thread.join(WAIT_SECONDS)
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            with self._more:
                self._lines.append(line.decode(errors="replace"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


def observed(
    folder: Path, *arguments: str, forks: bool = True, **variables: str
) -> tuple[subprocess.Popen[bytes], Output]:
    """Start `gateway …` in a folder, and return the process and all that it prints."""
    process = started(
        *arguments,
        forks=forks,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment(folder, **variables),
    )
    assert process.stdout is not None
    return process, Output(process.stdout)


class Served:
    """A running `gateway serve`, or `gateway dev`."""

    def __init__(
        self, folder: Path, *options: str, command: str = "serve", port: int = 0, forks: bool = True, **variables: str
    ) -> None:
        self.folder = folder
        arguments = (command, "--port", str(port), *options)
        self.process, self.output = observed(folder, *arguments, forks=forks, **variables)
        try:
            self.ws_url = self.output.expect("Terminal").split()[3]
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    @property
    def port(self) -> int:
        return int(self.ws_url.rpartition(":")[2].partition("/")[0])

    @property
    def url(self) -> str:
        return self.ws_url.replace("ws://", "http://")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(WAIT_SECONDS)
            raise
        finally:
            self.output.close()


@contextmanager
def serving(
    folder: Path, *options: str, command: str = "serve", port: int = 0, forks: bool = True, **variables: str
) -> Iterator[Served]:
    """Run `gateway serve` on a free port, and stop it at the end."""
    served = Served(folder, *options, command=command, port=port, forks=forks, **variables)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.stop(signal.SIGKILL)


class Piped:
    """A running `gateway chat` at the end of a pipe."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        variables = {"GATEWAY_CHAT_PASSWORD": PASSWORD} | variables
        self.process = started(
            *("chat", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder, **variables),
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._input = self.process.stdin
        self.out = Output(self.process.stdout)
        self.err = Output(self.process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._input.close()
        self.process.wait(WAIT_SECONDS)
        self.out.close()
        self.err.close()

    def write(self, text: str) -> None:
        """Write lines into the pipe."""
        self._input.write(text.encode())
        self._input.flush()

    def end(self) -> int:
        """Close the pipe, and return the exit status."""
        self._input.close()
        return self.process.wait(WAIT_SECONDS)


class Terminal:
    """A running `gateway …` on a pseudo terminal, with a user that types and reads."""

    def __init__(self, folder: Path, *arguments: str, before: Sequence[str] = (), **variables: str) -> None:
        """`before` are the words of another command, which runs this one."""
        self._master, slave = os.openpty()
        name = os.ttyname(slave)
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": folder,
            "env": environment(folder, TERM="xterm", **variables),
            "start_new_session": True,
        }
        # A new session's first process takes the first terminal that it opens as its own, as with a real one.
        shell = ["/bin/sh", "-c", f'exec "$@" <{name} >{name} 2>&1', "sh", *before, *words(*arguments)]
        forks = not before and can_fork(options["env"])
        self.process: subprocess.Popen[bytes] = (
            Forked(*arguments, terminal=name, **options) if forks else subprocess.Popen(shell, **options)
        )
        self._slave = slave
        self._raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_SECONDS)
        os.close(self._slave)
        if self._master >= 0:
            os.close(self._master)

    @property
    def raw(self) -> str:
        """Return all that was written to it."""
        return self._raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """Return the same without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", self.raw)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def expect(self, part: str) -> None:
        """Wait until this text appears."""
        deadline = time.monotonic() + WAIT_SECONDS
        while part not in self.text:
            assert time.monotonic() < deadline, f"no {part!r} on the screen:\n{self.text}"
            self._look(0.1)

    def hang_up(self) -> None:
        """Close it, as a user closes a window."""
        os.close(self._master)
        self._master = -1

    def echoes(self) -> bool:
        """Return whether it shows what is typed, as a terminal normally does."""
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def end(self) -> int:
        """Wait for its end, and return the exit status."""
        status = self.process.wait(WAIT_SECONDS)
        while self._look(0):
            pass
        return status

    def _look(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        self._raw += os.read(self._master, 65536)
        return True
