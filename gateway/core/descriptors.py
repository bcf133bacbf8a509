"""File descriptors: each connection needs one, and the system limits their number for each process.

At that limit, uvloop accepts each further connection and closes it at once, without an answer. So the gateway raises
the limit at its start as far as the system allows. It refuses connections with an answer while descriptors remain for
that. Refusals are counted for the whole process, because the limit is the process's.
"""

import logging
import resource
from collections import Counter

from gateway.core.folding import FoldedLog

logger = logging.getLogger(__name__)

RESERVED = 100
"""Descriptors for the store, the bus, log and key files, and for connections that are about to be refused."""

MOST = 1_048_576
"""No process needs more. Some systems have no hard limit that could be used instead."""

counters: Counter[str] = Counter()
"""Refused connections since the start of this process, by reason."""

_log = FoldedLog(logger, logging.WARNING, same=1)


def raise_limit() -> None:
    """Raise the soft limit of this process and of its children to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Return how many descriptors this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def max_connections() -> int:
    """Return how many connections this process can hold at the same time."""
    return limit() - min(RESERVED, limit() // 2)


def record_refusal() -> None:
    """Count a connection that found no free descriptor, and log it once a minute."""
    counters["descriptors"] += 1
    _log.log(
        "refused a connection: %d are open, and this process may open %d files; raise the limit (ulimit -n,"
        " systemd's LimitNOFILE, docker's --ulimit nofile), or add a node",
        max_connections(),
        limit(),
    )
