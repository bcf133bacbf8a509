"""The bus: Redis or Valkey between the nodes."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.machine import clock_difference
from gateway.cli.doctor.subject import Subject
from gateway.config.bus_url import MEMORY, parse
from gateway.core.start_error import StartError

INSTALL = "pip install 'json-gateway[redis]'"
KEEPING = "noeviction"


async def bus(subject: Subject) -> AsyncIterator[Finding]:
    """Check that the bus answers, allows what the gateway does, and never evicts."""
    settings = subject.settings
    if settings.bus_url == MEMORY:
        yield ok("there is no bus; one process needs none")
        return
    try:
        from gateway.bus import redis_client
    except ImportError:
        yield problem("GATEWAY_BUS_URL needs redis-py, which is not installed", INSTALL)
        return
    place = parse(settings.bus_url).place
    client = redis_client.connect(settings)
    try:
        await redis_client.check(client, settings)
        async for finding in _of_server(client, settings.bus_prefix, place):
            yield finding
    except StartError as error:
        yield problem(str(error), "GATEWAY_BUS_URL=…  # or start the server")
    except redis_client.FAILURES as error:
        yield problem(f"the bus at {place}: {redis_client.explain(error)}", _rights(settings.bus_prefix))
    finally:
        with suppress(*redis_client.FAILURES):
            await redis_client.close(client)


async def _of_server(client: Any, prefix: str, place: str) -> AsyncIterator[Finding]:
    began = time.time()
    theirs = _one(await client.time())
    ahead = theirs[0] + theirs[1] / 1e6 - (began + time.time()) / 2
    for finding in clock_difference(ahead, "the bus"):
        yield finding
    # These change nothing: the channel has no listener, and the key is not there.
    await client.publish(f"{prefix}:doctor", b"")
    await client.get(f"{prefix}:doctor")
    info = _one(await client.info())
    for finding in _of_memory(info, place):
        yield finding
    name = "Valkey" if "valkey_version" in info else "Redis"
    yield ok(f"{name} {info.get('valkey_version') or info.get('redis_version', '')} at {place} answers")


def _of_memory(info: dict[str, Any], place: str) -> Iterator[Finding]:
    policy, most, used = info.get("maxmemory_policy", KEEPING), info.get("maxmemory", 0), info.get("used_memory", 0)
    if policy != KEEPING:
        yield problem(
            f"the bus at {place} evicts keys when it is full ({policy}), and users then seem offline",
            f"maxmemory-policy {KEEPING}  # in its configuration",
        )
    if most and used > 0.9 * most:
        yield warning(f"the bus at {place} has used {used // 1024**2} of {most // 1024**2} MB", "maxmemory …  # more")


def _rights(prefix: str) -> str:
    return f"ACL SETUSER … ~{prefix}:* &{prefix}:* +@all -@dangerous +info"


def _one(answer: Any) -> Any:
    """Return the answer of one server: a cluster's client has a table of them."""
    if isinstance(answer, dict) and answer and all(isinstance(each, dict | tuple | list) for each in answer.values()):
        return next(iter(answer.values()))
    return answer
