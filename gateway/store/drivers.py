"""What a database's driver does: transactions, and the prepared statements of every message and every connection."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from gateway.store.prepared import Rows, Script, Statement

Result = TypeVar("Result")


class Driver(Protocol):
    """Runs transactions, each on its own connection, as two of one kind: SQLite's and PostgreSQL's."""

    async def query(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that reads one state, and lose its changes."""

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction, which is durable when this returns. An exception undoes it."""

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one short statement that only reads."""

    async def fetch_long(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one statement that only reads, and may take long."""

    async def fetch_bounded(self, statement: Statement, values: dict[str, Any], max_bytes: int) -> Rows:
        """Run one statement that only reads, up to the first rows whose sized columns together reach `max_bytes`."""

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script in its own transaction, which is durable when this returns."""

    async def close(self) -> None:
        """Close the connections."""
