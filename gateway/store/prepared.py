"""Statements for the path of every message: written with SQLAlchemy, compiled once, and passed to the driver.

SQLAlchemy takes longer to process such a statement than the database to run it.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cache, cached_property
from typing import Any, TypeVar

import orjson
from sqlalchemy import (
    JSON,
    ColumnElement,
    Delete,
    Dialect,
    Insert,
    LargeBinary,
    Numeric,
    Select,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import registry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.type_api import TypeEngine

Result = TypeVar("Result")

Sql = Select[Any] | Insert | Update | Delete

Rows = list[dict[str, Any]]
"""The rows that a statement found, each by the names of its columns."""


class Prepared:
    """A statement for one database, with the conversion of its values."""

    def __init__(self, statement: Sql, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - a statement has this compiler
        self.sql = compiled.string
        self._names: Sequence[str] = compiled.positiontup or ()
        self._constants = compiled.params
        columns = {str(column.key): column.type for column in statement.exported_columns}
        self._columns = list(columns)
        readers = {name: of.dialect_impl(dialect).result_processor(dialect, None) for name, of in columns.items()}
        self._readers = {name: reader for name, reader in readers.items() if reader is not None}
        self.in_one_row: str | None = None
        """SQLite's form of a query that finds all rows as one, a JSON text, if JSON can hold its values exactly."""
        is_exact = not any(isinstance(of, Numeric | LargeBinary) for of in columns.values())
        if dialect.name == "sqlite" and isinstance(statement, Select) and is_exact:
            self.in_one_row = _in_one_row(self.sql, len(columns))

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return the parameters in the driver's order."""
        return [values[name] if name in values else self._constants[name] for name in self._names]

    def places(self, columns: Sequence[str]) -> list[int]:
        """Return the places of columns in the driver's rows."""
        return [self._columns.index(name) for name in columns]

    def rows(self, found: Sequence[Sequence[Any]]) -> Rows:
        """Return the driver's rows with converted values."""
        rows = [dict(zip(self._columns, row, strict=True)) for row in found]
        for row in rows:
            for name, read in self._readers.items():
                row[name] = read(row[name])
        return rows


def _in_one_row(sql: str, width: int) -> str:
    names = ", ".join(f"c{number}" for number in range(width))
    return f"WITH found ({names}) AS ({sql}) SELECT json_group_array(json_array({names})) FROM found"  # noqa: S608


class ForOne(str):
    """The name of a database, for the form of a statement that takes one item."""

    __slots__ = ()


class Statement:
    """A statement that is written separately for each database."""

    def __init__(self, write: Callable[[str], Sql], *, sized: Sequence[str] = ()) -> None:
        """`write` gets "sqlite" or "postgresql". `sized` are the columns whose bytes a bounded read counts."""
        self._write = write
        self.sized = sized
        self._prepared: dict[str, Prepared] = {}

    @cached_property
    def for_one(self) -> "Statement":
        """Return the form that takes one item, with the parameters `item_0`, `item_1` and so on.

        The databases need half the time for it.
        """
        return Statement(lambda database: self._write(ForOne(database)))

    def for_database(self, database: str) -> Prepared:
        """Return the statement for a database, compiled at its first use: a process uses one database."""
        prepared = self._prepared.get(database)
        if prepared is None:
            prepared = self._prepared[database] = Prepared(self._write(database), _dialect(database))
        return prepared


def items(database: str, *types: TypeEngine[Any]) -> list[ColumnElement[Any]]:
    """Return the columns of the parameter `items`, an array of arrays, with these types.

    So a statement has the same text for any number of items, and handles all of them in one call.
    """
    if isinstance(database, ForOne):
        return [bindparam(f"item_{number}", type_=of) for number, of in enumerate(types)]
    given = bindparam("items", type_=Text())
    if database == "sqlite":
        each = func.json_each(given).table_valued("value")
        return [func.json_extract(each.c.value, f"$[{number}]") for number in range(len(types))]
    elements = func.json_array_elements(cast(given, JSON())).table_valued(column("value", JSON()))
    return [cast(elements.c.value.op("->>")(number), of) for number, of in enumerate(types)]


def among_items(database: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a row's columns are one of the items."""
    values = items(database, *(column.type for column in columns))
    if isinstance(database, ForOne):
        return and_(*(column == value for column, value in zip(columns, values, strict=True)))
    if len(columns) > 1:
        return tuple_(*columns).in_(select(*values))
    if database == "sqlite":
        return columns[0].in_(select(*values))
    # An array, which the database looks up. It might search its table for each row of a query.
    return columns[0] == any_(func.array(select(*values).scalar_subquery()))


def items_of(values: Iterable[str | int]) -> str:
    """Return the parameter `items` of a statement whose items have one column."""
    return orjson.dumps([[value] for value in values]).decode()


@cache
def _dialect(database: str) -> Dialect:
    dialect: Dialect = registry.load(_DIALECTS[database])()
    return dialect


_DIALECTS = {"sqlite": "sqlite.pysqlite", "postgresql": "postgresql.asyncpg"}

Step = tuple[Statement, dict[str, Any]]
"""A statement and its parameters."""

Script = Generator[Step, Rows, Result]
"""A transaction as a generator: it yields each statement, and receives the rows that were found."""
