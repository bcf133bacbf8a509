"""Log-ins and other credentials: what was granted, what was refused and why, and the queue of password hashes."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import counter, counters, gauge, histogram
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    yield counters(
        "logins",
        "Log-ins, registrations and changes of passwords, by outcome.",
        ("what", "outcome"),
        _logins(state).items(),
    )
    yield counters(
        "credentials_refused",
        "Tokens of users that did not hold, by the service that vouches for them and by the check.",
        ("service", "check"),
        state.counters.credentials_refused.items(),
    )
    yield counters(
        "audit_events",
        "Events for the audit log, also without such a log.",
        ("event", "reason"),
        state.audit.counts.items(),
    )
    yield from _of_hashes(state)


def _logins(state: GatewayState) -> Counter[tuple[str, str]]:
    counts = state.audit.counts
    found: Counter[tuple[str, str]] = Counter()
    for what, event in (("log_in", "log_in"), ("password_change", "password_changed"), ("register", "registered")):
        found[what, "ok"] = counts[event, ""]
        found[what, "limited"] = state.password_login.limited[what]
    for (event, reason), count in counts.items():
        if event in {"log_in_failed", "password_change_failed"}:
            found[event.removesuffix("_failed"), reason] += count
    return found


def _of_hashes(state: GatewayState) -> Iterator[Metric]:
    passwords = state.passwords
    yield gauge("hashes_open", "Password hashes that are made or wait for a thread.", passwords.under_way)
    yield gauge("hashes_max", "How many there may be before log-ins are refused.", passwords.capacity)
    yield histogram("hash_seconds", "How long password hashes took, with the wait for a thread.", passwords.seconds)
    yield counter("hashes_turned_away", "Log-ins refused because so many hashes waited.", passwords.turned_away)
