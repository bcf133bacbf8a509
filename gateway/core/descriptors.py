"""File descriptors: each connection takes one, and the system lets a process have only so many.

At that limit, uvloop takes each further connection and closes it without a word. So the gateway raises the limit at the
start as far as it may, and refuses connections in words while there are descriptors left to do so. Refusals are counted
for the whole process, whose limit it is.
"""

import logging
import resource
from collections import Counter

from gateway.core.folding import FoldedLog

logger = logging.getLogger(__name__)

RESERVED = 100
"""Descriptors for the store, the bus, files of logs and keys, and for connections that are being refused."""

MOST = 1_048_576
"""No process needs more, and some systems have no hard limit that could be taken."""

counts: Counter[str] = Counter()
"""Refused connections since the start of this process, by reason."""

_log = FoldedLog(logger, logging.WARNING, same=1)


def raise_limit() -> None:
    """Raise the soft limit of this process and of its children to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def connections_that_fit() -> int:
    """Return how many connections this process can have at a time."""
    return limit() - min(RESERVED, limit() // 2)


def note_refusal() -> None:
    """Count a connection for which no descriptor was left, and log it once a minute."""
    counts["descriptors"] += 1
    _log.write(
        "refused a connection: %d are open, and this process may have %d files; raise the limit (ulimit -n,"
        " systemd's LimitNOFILE, docker's --ulimit nofile), or add a node",
        connections_that_fit(),
        limit(),
    )
