"""A part of a benchmark in a process of its own, which answers each line with a line of JSON."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class Child:
    """The process, as the measuring process sees it: `async with`, then `ask`."""

    def __init__(self, module: str, orders: object, seconds: float) -> None:
        """Run a module and send it its orders. `seconds` is the limit of an answer."""
        self._module = module
        self._orders = json.dumps(orders)
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            await self.ask(self._orders)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None  # noqa: S101 - entered
        if self._process.returncode is None:
            self._process.kill()  # it stores nothing
        await self._process.wait()

    async def ask(self, line: str) -> Any:
        """Send a line, and return the answer."""
        process = self._process
        assert process is not None  # noqa: S101 - entered
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(self._seconds):
            answer = await process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._module} has ended; it has said why above")
        return json.loads(answer)
