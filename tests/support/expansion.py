"""Compares tables before and after a migration: what gateways of the previous release would stumble over."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, inspect

Shape = dict[str, dict[str, Any]]


def shape_of(connection: Connection) -> Shape:
    """Read what the database says of each table."""
    found = inspect(connection)
    return {
        name: {
            "columns": {column["name"]: column for column in found.get_columns(name)},
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(
                [*(tuple(each["column_names"]) for each in found.get_unique_constraints(name))]
                + [tuple(map(str, each["column_names"])) for each in found.get_indexes(name) if each["unique"]]
            ),
            "checks": sorted(str(each["sqltext"]) for each in found.get_check_constraints(name)),
            "references": sorted(str(each["constrained_columns"]) for each in found.get_foreign_keys(name)),
        }
        for name in found.get_table_names()
    }


def obstacles(before: Shape, after: Shape) -> list[str]:
    """Return what the previous release cannot live with; nothing for a migration that only adds."""
    return [each for name, table in before.items() for each in _of_table(name, table, after.get(name))]


def _of_table(name: str, before: dict[str, Any], after: dict[str, Any] | None) -> Iterator[str]:
    if after is None:
        yield f"{name} is gone"
        return
    for column, was in before["columns"].items():
        now = after["columns"].get(column)
        if now is None:
            yield f"{name}.{column} is gone"
        elif (str(was["type"]), was["nullable"]) != (str(now["type"]), now["nullable"]):
            yield f"{name}.{column} has another type"
    for column, now in after["columns"].items():
        if column not in before["columns"] and not now["nullable"] and now["default"] is None:
            yield f"{name}.{column} needs a value that the previous release does not write"
    for part in ("key", "unique", "checks", "references"):
        if before[part] != after[part]:
            yield f"{name} has other rules: {part}"
