"""Opens connections to PostgreSQL, and replaces them: the choice of host, TLS, and poolers.

A pooler such as PgBouncer refuses start-up parameters that it does not know. In its transaction mode, each transaction
may use another connection to the server. So a transaction must leave nothing on one: neither a setting nor a prepared
statement.
"""

import os
import ssl
import time
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, Pool, QueuePool, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.config import database_url
from gateway.config.database_url import PostgresqlUrl
from gateway.core.start_error import StartError
from gateway.store.failures import is_conflict, is_mistake
from gateway.store.figures import PoolFigures

POOL_SIZE = 8
"""Connections to PostgreSQL. Writes to rooms need one; the others are for reads."""

SHARE_OF_SILENCE = 0.8
"""How much of the time for a transaction it may be silent, before PostgreSQL takes its node for lost."""

RENEWAL_SECONDS = 1
"""How often all connections may be replaced, which costs the server some time."""


class Postgresql:
    """Opens connections for an engine, and replaces them when the server has changed."""

    def __init__(self, url: str, seconds: float) -> None:
        """Parse the URL, or raise `StartError`. `seconds` is the limit to open a connection, if the URL has none."""
        import asyncpg  # type: ignore[import-untyped] # it has no types

        try:
            self._url = database_url.parse(url)
        except ValueError as error:
            raise StartError(f"the database's URL: {error}") from None
        self._driver = asyncpg
        self.errors: tuple[type[Exception], ...] = (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        )
        self._seconds = self._url.connect_seconds or seconds
        self._hosts: list[tuple[str | None, int | None]] = [*self._url.hosts] or [(None, None)]
        self._arguments = _arguments(self._url)
        self._settings = _SETTINGS | {
            # If this machine vanishes or hangs in the middle of a transaction, its locks on rooms end while those that
            # wait for them on other nodes still have time. No transaction of a node may take longer in any case.
            "idle_in_transaction_session_timeout": str(round(SHARE_OF_SILENCE * seconds * 1000))
        }
        self._pool: Pool | None = None
        self._pooled: bool | None = True if self._url.is_pooled else None
        self._renewed = self._refused = float("-inf")

    def engine(self) -> AsyncEngine:
        """Return an engine that uses these connections."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={"async_creator_fn": self.connect, "prepared_statement_name_func": self._statement_name},
            pool_size=POOL_SIZE,
            max_overflow=0,
            hide_parameters=True,  # parameters are messages of users, and errors are logged
        )
        self._pool = engine.pool
        event.listen(engine.sync_engine, "connect", self._note_age)
        event.listen(engine.sync_engine, "checkout", self._check)
        event.listen(engine.sync_engine, "handle_error", _drop_after_failure)
        event.listen(engine.sync_engine, "begin", self._set_up)
        return engine

    @property
    def pool(self) -> PoolFigures | None:
        """Return how many connections are in use, once there is an engine."""
        pool = self._pool
        return PoolFigures(pool.checkedout(), POOL_SIZE) if isinstance(pool, QueuePool) else None

    @property
    def begin(self) -> str:
        """Return the statement that opens a transaction outside SQLAlchemy."""
        return f"BEGIN; {self._local_settings}" if self._pooled else "BEGIN"

    def renew(self, *, at_once: bool = False, after_write: bool = False) -> None:
        """Replace all current connections before their next use, unless that has just been done.

        After a failover, they may lead to a server that refuses writes, or to none. `after_write` means that a write
        has failed: then the next write gets a new connection in any case.
        """
        now = time.monotonic()
        if after_write:
            self._refused = now
        if at_once or now - self._renewed >= RENEWAL_SECONDS:
            self._renewed = now

    async def for_writing(self, pooled: AsyncConnection) -> Any:
        """Return the driver's connection, replaced by a new one if it is older than the last failed write."""
        found = await pooled.get_raw_connection()
        while found.info["opened"] < self._refused:
            _hang_up(found.driver_connection)
            await pooled.invalidate()
            found = await pooled.get_raw_connection()
        return found.driver_connection

    def redacted(self, line: str) -> str:
        """Return a line without the user name and the password."""
        return self._url.redacted(line)

    async def connect(self) -> Any:
        """Open a connection."""
        if self._pooled is None:
            connection = await self._open(pooled=True)
            # A pooler answers with its own number, because cancelling goes through it.
            self._pooled = await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid()
            if self._pooled:
                return connection
            await connection.close()
        return await self._open(pooled=self._pooled)

    async def _open(self, *, pooled: bool) -> Any:
        """Open a connection to the first host that accepts it, starting with the last successful one."""
        settings = self._url.server_settings | ({} if pooled else self._settings)
        options: dict[str, Any] = {"server_settings": settings} | ({"statement_cache_size": 0} if pooled else {})
        # With several hosts, each gets a part of the time, so that a silent one leaves time for the others.
        options["timeout"] = self._url.connect_seconds or self._seconds / len(self._hosts)
        last: Exception | None = None
        for place in tuple(self._hosts):
            try:
                host, port = place
                connection = await self._driver.connect(host=host, port=port, **self._arguments, **options)
            except (OSError, self._driver.CannotConnectNowError, self._driver.TargetServerAttributeNotMatched) as error:
                last = error
            else:
                self._hosts.sort(key=lambda each: each != place)
                return connection
        assert last is not None  # noqa: S101 - there is at least one host
        raise last

    def _statement_name(self) -> str | None:
        # Without a name, a statement is prepared at each use.
        return "" if self._pooled else None

    @property
    def _local_settings(self) -> str:
        each = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in self._settings.items())
        return f"SELECT {each}"

    def _set_up(self, connection: Connection) -> None:
        if self._pooled:
            connection.execute(text(self._local_settings))

    def _note_age(self, _connection: object, record: Any) -> None:
        record.info["opened"] = time.monotonic()

    def _check(self, connection: Any, record: Any, _proxy: object) -> None:
        # Connections that a restarted server has closed are recognised without asking the server.
        closed = connection.driver_connection.is_closed()
        if closed or record.info["opened"] < self._renewed:
            _hang_up(connection.driver_connection)
            raise DisconnectionError


def _hang_up(connection: Any) -> None:
    # An orderly close would wait for a server that may be gone.
    connection.terminate()


_SETTINGS = {
    # Every statement here finds a few rows by a key. Without statistics, as for new tables, PostgreSQL would scan whole
    # tables and keep that plan. With them, it makes new plans, which takes longer than the statement.
    "enable_seqscan": "off",
    # A bitmap of all rows of a user or a room, and a sort of them, would come before the first row of a page.
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}


def _drop_after_failure(context: Any) -> None:
    """Make SQLAlchemy close a connection after a failure, unless a statement or a conflict caused it.

    A server that has become a standby refuses each write but keeps the connection (25006). A connection also stays
    useless after an aborted transaction (25P02), or if the server has forgotten its statements (26000).
    """
    error = context.original_exception
    if context.connection is not None and not is_mistake(error) and not is_conflict(error):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # `renew` does that, for all ways to the store


def _arguments(url: PostgresqlUrl) -> dict[str, Any]:
    """Return the arguments of the driver's `connect`, except the host. They lack the URL, which errors may quote."""
    parameters = url.driver_parameters
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if name in parameters and parameters[name] != "system" and not os.access(parameters[name], os.R_OK):
            raise StartError(f"the database's URL: {name}: expected the path of a readable file")
    arguments: dict[str, Any] = {"user": url.user, "password": url.password, "database": url.database}
    if url.needs_certificate:
        arguments["ssl"] = _strict_tls(parameters)
    return arguments | {"dsn": f"postgresql://?{urlencode(parameters)}" if parameters else None}


def _strict_tls(parameters: dict[str, str]) -> ssl.SSLContext:
    """Return TLS as for `sslmode=verify-full`, with this machine's authorities or those of `sslrootcert`."""
    file = parameters.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=None if file == "system" else file)
        if "sslcert" in parameters:
            context.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"), parameters.get("sslpassword"))
    except ssl.SSLError:
        raise StartError(
            "the database's URL: sslrootcert, sslcert: expected certificates, got something else"
        ) from None
    return context
