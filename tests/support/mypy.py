"""mypy over an application. What it knows of the gateway it shares with `make check`: to find that out takes 20 s."""

import fcntl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
KNOWN = ROOT / ".mypy_cache"
WAIT_SECONDS = 240
"""For its first run, which reads the whole gateway if nothing is known yet."""

_CODES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["enable_error_code"]
OPTIONS = ("--strict", *(f"--enable-error-code={code}" for code in _CODES))
"""The options of the project: mypy uses what it knows only under the options under which it has found that out."""


def mypy(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run mypy in a folder to its end."""
    command = (sys.executable, "-m", "mypy", f"--cache-dir={KNOWN}", *arguments)
    with _alone():
        return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=WAIT_SECONDS)


def check_types(folder: Path, *arguments: str) -> None:
    """Run mypy, and expect that it finds no mistake."""
    done = mypy(folder, *arguments)
    assert done.returncode == 0, done


@contextmanager
def _alone() -> Iterator[None]:
    """Let the tests of other processes wait: the first run finds out what the others then know."""
    KNOWN.mkdir(exist_ok=True)
    with (KNOWN / "tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
