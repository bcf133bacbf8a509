"""Statements for where every message passes: written with SQLAlchemy, compiled once, and then given to the driver.

SQLAlchemy takes longer for a statement than the databases do for one of these.
"""

from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import JSON, ColumnElement, Dialect, Insert, Select, Text, Update, bindparam, cast, column, func
from sqlalchemy.dialects import registry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.type_api import TypeEngine

Result = TypeVar("Result")

Sql = Select[Any] | Insert | Update

Rows = list[dict[str, Any]]
"""What a statement found, by the names of its columns."""


class Prepared:
    """A statement in the words of one database, and how values go in and out."""

    def __init__(self, statement: Sql, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - a statement, not a table's definition
        self.sql = compiled.string
        self._names: Sequence[str] = compiled.positiontup or ()
        self._constants = compiled.params
        columns = {str(column.key): column.type for column in statement.exported_columns}
        self._columns = list(columns)
        readers = {name: of.dialect_impl(dialect).result_processor(dialect, None) for name, of in columns.items()}
        self._readers = {name: reader for name, reader in readers.items() if reader is not None}

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Give the parameters in the order in which the driver takes them."""
        return [values[name] if name in values else self._constants[name] for name in self._names]

    def rows(self, found: Sequence[Sequence[Any]]) -> Rows:
        """Give what the driver has found."""
        rows = [dict(zip(self._columns, row, strict=True)) for row in found]
        for row in rows:
            for name, read in self._readers.items():
                row[name] = read(row[name])
        return rows


class Statement:
    """A statement for either database, where they need different words for the same."""

    def __init__(self, write: Callable[[str], Sql]) -> None:
        """`write` is given "sqlite" or "postgresql"."""
        self._write = write
        self._prepared: dict[str, Prepared] = {}

    def for_database(self, database: str) -> Prepared:
        """Return the statement for a database, compiled with its first use: a process uses one database."""
        prepared = self._prepared.get(database)
        if prepared is None:
            prepared = self._prepared[database] = Prepared(self._write(database), _dialect(database))
        return prepared


def items(database: str, *types: TypeEngine[Any]) -> list[ColumnElement[Any]]:
    """Give the columns of the parameter `items`, an array of arrays, of these types.

    So a statement is the same text for any number of items, and takes them all in one call.
    """
    given = bindparam("items", type_=Text())
    if database == "sqlite":
        each = func.json_each(given).table_valued("value")
        return [func.json_extract(each.c.value, f"$[{number}]") for number in range(len(types))]
    elements = func.json_array_elements(cast(given, JSON())).table_valued(column("value", JSON()))
    return [cast(elements.c.value.op("->>")(number), of) for number, of in enumerate(types)]


@cache
def _dialect(database: str) -> Dialect:
    dialect: Dialect = registry.load(_DIALECTS[database])()
    return dialect


_DIALECTS = {"sqlite": "sqlite.pysqlite", "postgresql": "postgresql.asyncpg"}

Step = tuple[Statement, dict[str, Any]]
"""A statement and its parameters."""

Script = Generator[Step, Rows, Result]
"""A transaction that says step by step what it wants of the database, and is sent what that found."""
