"""Parses the URL of the database: the server, the user and the parameters.

Every parameter means what it means to libpq.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import quote

from gateway.config.url_parts import UrlParts, decoded, host_and_port, split

EXPECTED = (
    "expected a URL such as sqlite:////var/lib/gateway/gateway.db or postgresql://user:password@host:5432/name,"
    " with the special characters of the password percent-encoded"
)
SQLITE = re.compile(r"sqlite(?:\+(?:aiosqlite|pysqlite))?://(?:/|$)")
_POSTGRESQL = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?")
_DEFAULT_PORT = 5432

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

_PLACE = frozenset({"host", "port", "user", "password", "dbname", "database"})
_OURS = frozenset({"channel_binding", "connect_timeout", "client_encoding", "gssencmode", "pgbouncer", "ssl"})
_SERVER = frozenset({"application_name", "fallback_application_name", "options"})
_DRIVER = frozenset(
    {
        *("passfile", "service", "krbsrvname", "gsslib", "target_session_attrs"),
        *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    }
)
_KNOWN = _PLACE | _OURS | _SERVER | _DRIVER


Check = tuple[Callable[[str], Any], str]
"""A test of a value, and the description of a valid one."""


def _one_of(*values: str) -> Check:
    return frozenset(values).__contains__, f"{', '.join(values[:-1])} or {values[-1]}"


_CHECKS: Mapping[str, Check] = {
    "sslmode": _one_of(*get_args(SslMode)),
    "ssl": _one_of("true", *get_args(SslMode)),
    "channel_binding": _one_of("disable", "prefer", "require"),
    "sslnegotiation": _one_of("postgres", "direct"),
    "ssl_min_protocol_version": _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    # The gateway writes, so it never wants a standby.
    "target_session_attrs": _one_of("any", "primary", "read-write"),
    "gssencmode": _one_of("disable", "prefer"),
    "gsslib": _one_of("gssapi", "sspi"),
    "client_encoding": _one_of("auto", "utf8", "UTF8", "utf-8", "UTF-8"),
    "pgbouncer": _one_of("true", "false"),
    "connect_timeout": (re.compile(r"-?[0-9]{1,6}").fullmatch, "a number of seconds"),
}


@dataclass(frozen=True)
class PostgresqlUrl:
    """The parts of a PostgreSQL URL."""

    hosts: tuple[tuple[str, int], ...]
    """Empty if the environment, a service file or the driver's default names the server."""
    database: str | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """Return the URL without the user, the password and the parameters."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{hosts}/{self.database or ''}"

    @property
    def driver_parameters(self) -> dict[str, str]:
        """Return the parameters that the driver itself understands."""
        given = {name: value for name, value in self.parameters.items() if name in _DRIVER}
        if "ssl" in self.parameters and "sslmode" not in given:
            # libpq reads the `ssl=true` of JDBC as this.
            given["sslmode"] = self.parameters["ssl"].replace("true", "require")
        if len(self.hosts) > 1:
            given.setdefault("target_session_attrs", "read-write")
        return given

    @property
    def server_settings(self) -> dict[str, str]:
        """Return the parameters that the driver sends to the server when it connects."""
        name = self.parameters.get("application_name") or self.parameters.get("fallback_application_name")
        settings = {"application_name": name or "json-gateway"}
        if "options" in self.parameters:
            settings["options"] = self.parameters["options"]
        return settings

    @property
    def needs_certificate(self) -> bool:
        """Return whether the server must prove its name.

        The driver has no channel binding. If the URL requires it, the gateway checks the certificate instead, which
        prevents an attack between client and server just as well.
        """
        return self.parameters.get("channel_binding") == "require" or self.parameters.get("sslrootcert") == "system"

    @property
    def connect_seconds(self) -> float | None:
        """Return how long opening a connection may take, or None if the URL does not say."""
        seconds = int(self.parameters.get("connect_timeout", 0))
        return seconds if seconds > 0 else None

    @property
    def is_pooled(self) -> bool:
        """Return whether the URL says that a pooler such as PgBouncer is in front of the server."""
        return self.parameters.get("pgbouncer") == "true"

    def redacted(self, text: str) -> str:
        """Return a text without the user name and the password."""
        for secret in filter(None, (self.password, self.user, self.parameters.get("sslpassword"))):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "[redacted]", text)
        return text


def check(text: str) -> None:
    """Raise `ValueError` with what is wrong with a database URL. The error never quotes the URL."""
    if not SQLITE.match(text):
        parse(text)


def redacted(text: str) -> str:
    """Return a database URL without secrets."""
    return text if SQLITE.match(text) else parse(text).place


def parse(text: str) -> PostgresqlUrl:
    """Return the parts of a PostgreSQL URL, or raise `ValueError` with what is wrong, without quoting the URL."""
    parts = split(text, EXPECTED)
    if not _POSTGRESQL.fullmatch(parts.scheme):
        raise ValueError(EXPECTED)
    _check_parameters(parts.query)
    found = parts.query
    return PostgresqlUrl(
        hosts=_hosts(parts),
        database=found.get("dbname") or found.get("database") or decoded(parts.path) or None,
        user=found.get("user") or parts.username,
        password=found.get("password") or parts.password,
        parameters={name: value for name, value in found.items() if name not in _PLACE},
    )


def _check_parameters(found: Mapping[str, str]) -> None:
    if unknown := sorted(found.keys() - _KNOWN):
        names = ", ".join(f"`{name}`" for name in unknown if name.isidentifier() and len(name) <= 40)
        raise ValueError(
            f"expected parameters that PostgreSQL's own clients accept, got {names or 'others'};"
            " write a setting of the server as ?options=-c%20name%3Dvalue"
        )
    for name, (is_right, values) in _CHECKS.items():
        if name in found and not is_right(found[name]):
            raise ValueError(f"{name}: expected {values}, got another value")
    if found.get("channel_binding") == "require" and found.get("sslmode") == "disable":
        raise ValueError("channel_binding: expected disable or prefer, since sslmode=disable turns TLS off")


def _hosts(parts: UrlParts) -> tuple[tuple[str, int], ...]:
    if "host" in parts.query:
        return tuple(_named_hosts(parts.query["host"].split(","), parts.query.get("port", "").split(",")))
    return tuple(_host(place) for place in parts.hosts.split(",")) if parts.hosts else ()


def _named_hosts(hosts: list[str], ports: list[str]) -> Iterator[tuple[str, int]]:
    if len(ports) not in {1, len(hosts)}:
        raise ValueError("port: expected one number, or one for each host")
    for host, port in zip(hosts, ports * len(hosts), strict=False):
        place = f"[{host}]" if ":" in host else quote(host, safe="")
        yield _host(f"{place}:{port or _DEFAULT_PORT}")


def _host(place: str) -> tuple[str, int]:
    """Return the host and the port of one server. The host may be the folder of a Unix socket."""
    if place.upper().startswith("%2F"):
        folder, _, port = place.partition(":")
        return decoded(folder), host_and_port(f"localhost:{port or _DEFAULT_PORT}", _DEFAULT_PORT, EXPECTED)[1]
    host, number = host_and_port(place, _DEFAULT_PORT, EXPECTED)
    if not host:
        raise ValueError(EXPECTED)
    return host, number
