"""Asks a node whether it serves, and which time it has."""

import asyncio
import time
from datetime import datetime
from itertools import count

import httpx2
from picows import WSHandshakeError

from benchmarks.rig import Frame, Server, connect
from proofs.faults.member import Connection
from proofs.faults.site import PROBES, Site

PATIENCE_SECONDS = 3.0

_numbers = count(1)


class Probe(Connection):
    """A connection with little patience."""

    patience = PATIENCE_SECONDS


async def is_ready(server: Server) -> bool:
    """Return whether a node says that it is ready."""
    try:
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False, verify=False) as http:
            answer = await http.get(f"http://{server.machine.address}:{server.port}/readyz")
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200


async def takes_a_message(site: Site, server: Server) -> bool:
    """Return whether a node takes a message."""
    return await _sent(site, server) is not None


async def clock_of(site: Site, server: Server) -> float | None:
    """Return how many seconds a node's clock is ahead, or None if it does not say."""
    reply = await _sent(site, server)
    if reply is None:
        return None
    return datetime.fromisoformat(reply["message"]["sent_at"]).timestamp() - time.time()


async def _sent(site: Site, server: Server) -> Frame | None:
    """Send a message, and return the data of the reply, or None."""
    probe = Probe({})
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await connect(server, site.prober, probe)
        await probe.ask("room.join", room=PROBES, limit=0)
        answer = await probe.ask("chat.send", room=PROBES, text="probe", client_id=f"p{next(_numbers)}")
    except (OSError, WSHandshakeError, TimeoutError):
        return None
    finally:
        probe.hang_up()
    return dict(answer["data"]) if answer["type"] == "reply" else None
