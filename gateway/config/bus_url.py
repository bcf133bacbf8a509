"""Parses the URL of the bus: the servers, their kind, and the account to log in with."""

from dataclasses import dataclass, field
from typing import Literal

from gateway.config.url_parts import decoded, host_and_port, split

MEMORY = "memory://"
EXPECTED = (
    "expected memory://, redis://host:6379/0, redis+sentinel://host:26379,host:26379/service or"
    " redis+cluster://host:6379,host:6379, each with rediss for TLS; user:password@ goes before the hosts, with"
    " the special characters of the password percent-encoded, such as %40 for @ and %2F for /"
)

Kind = Literal["single", "sentinel", "cluster"]

_KINDS: dict[str, tuple[Kind, int]] = {
    "": ("single", 6379),
    "+sentinel": ("sentinel", 26379),
    "+cluster": ("cluster", 6379),
}
_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SENTINELS = frozenset({"sentinel_username", "sentinel_password"})


@dataclass(frozen=True)
class BusUrl:
    """The parts of a bus URL."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    """The sentinels' name for the server that they watch."""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """Files for TLS, under redis-py's names, and the account for the sentinels themselves."""

    @property
    def place(self) -> str:
        """Return the hosts and the service, without any secret."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts}/{self.service}" if self.service else hosts


def parse(text: str) -> BusUrl:
    """Return the parts of a server's URL, or raise `ValueError` with what is wrong, without quoting the URL."""
    url = split(text, EXPECTED)
    base, plus, suffix = url.scheme.partition("+")
    if base not in {"redis", "rediss"} or plus + suffix not in _KINDS:
        raise ValueError(EXPECTED)
    kind, port = _KINDS[plus + suffix]
    path = url.path.strip("/")
    hosts = tuple(_host(place, port) for place in url.hosts.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("expected one host; several are for redis+sentinel:// or redis+cluster://")
    if kind == "cluster" and path not in {"", "0"}:
        raise ValueError("expected no database after the hosts: a cluster has only database 0")
    service, database = _path(kind, path)
    return BusUrl(
        kind=kind,
        tls=base == "rediss",
        hosts=hosts,
        service=service,
        database=database,
        username=url.username,
        password=url.password,
        options=_options(kind, base == "rediss", url.query),
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, port = host_and_port(text, default_port, EXPECTED)
    if not host:
        raise ValueError(EXPECTED)
    return host, port


def _path(kind: Kind, path: str) -> tuple[str, int]:
    if kind != "sentinel":
        return "", _database(path)
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("expected the name of the service after the sentinels, as in redis+sentinel://host:26379/main")
    return decoded(service), _database(database)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError("expected a database number or nothing after the hosts, as in redis://host:6379/0")
    return int(text or 0)


def _options(kind: Kind, tls: bool, options: dict[str, str]) -> dict[str, str]:
    known = (_FILES if tls else frozenset[str]()) | (_SENTINELS if kind == "sentinel" else frozenset[str]())
    if not options.keys() <= known:
        allowed = f"at most {', '.join(sorted(known))}" if known else "nothing (options need rediss:// or sentinels)"
        raise ValueError(f"expected {allowed} after the ? at the end")
    return options
