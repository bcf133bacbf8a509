"""A gateway with a look inside, as a proof starts it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from proofs.server import Server

PROGRAM = Path(__file__).with_name("watched.py")


class WatchedServer(Server):
    """`gateway serve`, whose file `inside` says every so many seconds how many tasks, timers and objects it has."""

    def __init__(self, folder: Path, database_url: str | None, seconds: float, **settings: str) -> None:
        super().__init__(folder, database_url, **settings)
        self.inside = folder / "inside.json"
        self._seconds = seconds

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", str(PROGRAM), str(self.inside), str(self._seconds), *self.arguments]
        return subprocess.Popen(command, **options)  # noqa: S603 - our own program
