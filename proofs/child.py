"""The clients of a proof in a process of their own: it answers each line of its input with a line of JSON."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

LONGEST_LINE = 256 * 1024 * 1024
"""The first line has the tokens of all users."""


async def serve(begin: Callable[[Any], Awaitable[Callable[[str], Awaitable[object]]]]) -> None:
    """Begin with the orders of the first line, and answer each further line with what the returned function returns."""
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    answer = await begin(json.loads(await lines.readline()))
    print("{}", flush=True)
    while line := await lines.readline():
        print(json.dumps(await answer(line.decode().strip())), flush=True)
