"""Makes the redis-py client of the shared Redis or Valkey, for each kind of URL, with bounded waits.

An import of this module needs redis-py, which the extra `redis` installs. `gateway.bus.build` reports if it is missing.
"""

import os
import re
import ssl
from typing import Any, TypeAlias

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff

from gateway.config.bus_url import BusUrl, parse
from gateway.config.settings import Settings
from gateway.core.start_error import StartError

ANSWER_SECONDS = 2.0
"""How long the server may take to connect, to accept a command and to answer one."""

FAILURES: tuple[type[Exception], ...] = (
    exceptions.RedisError,
    exceptions.RedisClusterException,
    OSError,
    exceptions.TimeoutError,
)
"""What redis-py raises if the server is not available, does not answer, or refuses."""

OLDEST = (6, 2)

CHANGED = "the cluster has changed"
"""The error's text if a server of a cluster no longer has its slots. The layout is then looked up again."""

CLOSED = "Connection closed by server"
"""The text of redis-py if a server has closed the connection."""

RedisClient: TypeAlias = "Redis | RedisCluster"


def connect(settings: Settings) -> RedisClient:
    """Return a client for `GATEWAY_BUS_URL`. It opens nothing: `check` connects, and `close` disconnects."""
    url = parse(settings.bus_url)
    options: dict[str, Any] = {
        "username": url.username,
        "password": url.password,
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        # All versions of both servers speak this protocol. With the other one, redis-py sends two more messages.
        "protocol": 2,
        "client_name": "json-gateway",
        **_tls(url),
    }
    if url.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in url.hosts]
        return RedisCluster(startup_nodes=nodes, retry=_retry(), **options)
    options |= {"db": url.database, "retry": _retry()}
    if url.kind == "sentinel":
        return _watched(url, options)
    host, port = url.hosts[0]
    return Redis(host=host, port=port, **options)


async def check(client: RedisClient, settings: Settings) -> None:
    """Check that the server is available and of the kind that the URL names, or raise `StartError` in one line."""
    url = parse(settings.bus_url)
    try:
        if isinstance(client, RedisCluster):
            await client.initialize()
            return
        info = await client.info()
    except FAILURES as error:
        raise StartError(f"GATEWAY_BUS_URL: {explain(error)}, at {url.place}") from None
    if problem := _problem(info):
        raise StartError(f"GATEWAY_BUS_URL: {problem}, at {url.place}")


async def close(client: RedisClient) -> None:
    """Close all connections."""
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    await client.aclose()
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def explain(error: BaseException) -> str:
    """Return a short description of an error between the gateway and the server. It never has a password."""
    if isinstance(error, exceptions.RedisClusterException):
        # redis-py regards a server that refuses to list the slots as no cluster.
        inner = error.__cause__ or error.__context__
        if inner is not None and type(inner) is not exceptions.ResponseError:
            return explain(inner)
    text = str(error)
    for part, words in _TEXTS:
        if part in text:
            return words
    for kinds, words in _KINDS:
        if isinstance(error, kinds):
            return words
    if isinstance(error, (exceptions.ConnectionError, OSError)):
        return _reason(error)
    # The text after these words is what was sent, which may be a password.
    return f"the server refused: {text.partition(', with args')[0][:200]}"


_TEXTS = (
    ("Authentication required", "expected user:password@ before the hosts, since the server requires a log-in"),
    ("Cluster mode is not enabled", "expected a cluster, got a single server; write redis:// for it"),
    ("All slots are not covered", "the cluster is down: not all of its slots are served"),
    ("unknown command 'SENTINEL'", "expected sentinels, got an ordinary server; write redis:// for it"),
    (CLOSED, "the server closed the connection"),
    (CHANGED, CHANGED),
)
_KINDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError),
        "the server does not accept this user name and password",
    ),
    ((exceptions.NoPermissionError,), "the server does not allow this user the commands that the gateway needs"),
    ((MasterNotFoundError,), "no sentinel answers, or none knows a service with this name"),
    ((exceptions.BusyLoadingError,), "the server is still loading its data"),
    ((exceptions.ClusterDownError,), "the cluster is down: not all of its slots are served"),
    ((exceptions.AskError,), CHANGED),
    ((exceptions.InvalidResponse,), "expected Redis or Valkey, got an answer of something else"),
    ((exceptions.TimeoutError, TimeoutError), f"no answer within {ANSWER_SECONDS:g} seconds"),
)


def _reason(error: BaseException) -> str:
    """Return the system's own words. redis-py adds words with the address, which the gateway's message has anyway."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS with this server ({cause.reason})"
    if cause is None:
        return f"no answer ({type(error).__name__})"
    words = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or type(cause).__name__
    return f"no answer ({words})"


def _problem(info: dict[str, Any]) -> str | None:
    """Return what makes a server unsuitable, from its own report. A missing item counts as suitable."""
    found = version(info)
    if found is not None and found < OLDEST:
        return f"expected Redis 6.2 or newer, or Valkey, got {found[0]}.{found[1]}"
    if info.get("cluster_enabled"):
        return "expected a single server, got one of a cluster; write redis+cluster:// for it"
    if info.get("role") == "slave":
        return "expected a server that accepts writes, got a replica; name its primary"
    return None


def version(info: dict[str, Any]) -> tuple[int, int] | None:
    """Return the version of Redis that a server reports, or with which it says it is compatible."""
    found = re.match(r"(\d+)\.(\d+)", str(info.get("redis_version", "")))
    return None if found is None else (int(found[1]), int(found[2]))


def _watched(url: BusUrl, options: dict[str, Any]) -> Redis:
    login = {
        "username": url.options.get("sentinel_username"),
        "password": url.options.get("sentinel_password"),
    }
    apart = {"username", "password", "db", "client_name"}
    sentinel = Sentinel(  # type: ignore[no-untyped-call] # redis-py has types for most, not for all
        url.hosts, sentinel_kwargs={name: value for name, value in options.items() if name not in apart} | login
    )
    watched: Redis = sentinel.master_for(url.service, **options)
    return watched


def _tls(url: BusUrl) -> dict[str, Any]:
    if not url.tls:
        return {}
    return {"ssl": True} | {name: value for name, value in url.options.items() if name.startswith("ssl_")}


def _retry() -> Retry:
    # Once, because the connection may have closed since its last use. There is no wait for a lost server.
    return Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 1)
