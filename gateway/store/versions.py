"""Checks the version of the tables and whether they are the gateway's, and upgrades them.

Beside the version is the oldest version of the code that may use the tables, `readable_from`. So the nodes of the
previous release go on while the first node of the next one has upgraded the tables already. They leave the tables as
they are. docs/compatibility.md has the rules for migrations.

The version is in the gateway's own table. Alembic's default, `alembic_version`, belongs to any application with
Alembic. Up to revision 0005 it held the gateway's version too, which is moved once. Nothing changes before it is
certain that the tables are the gateway's.

An empty database gets the newest tables at once. `revisions`, which imports Alembic, is imported only to upgrade older
tables: most starts need no upgrade.
"""

import logging
import sqlite3

from sqlalchemy import Connection, bindparam, create_engine, select, text, update
from sqlalchemy.exc import DBAPIError

from gateway.core.start_error import StartError
from gateway.store.tables import VERSION_TABLE, create_tables, metadata, versions

logger = logging.getLogger(__name__)

NEWEST = "gateway_0022"
"""The revision of the newest script."""

READABLE_FROM = "gateway_0021"
"""The oldest revision which gateways may have as their newest, and still use the newest tables."""

FORMER_TABLE = "alembic_version"
FORMER_REVISIONS = {number: f"gateway_{number}" for number in ("0001", "0002", "0003", "0004", "0005")}
"""The current names of the revisions that were in `alembic_version`."""

UPGRADE_LOCK = 4501
"""The number of PostgreSQL's advisory lock for upgrades. Any number would do."""

SYNTAX_OR_ACCESS = "42"
INSUFFICIENT_PRIVILEGE = "42501"
INVALID_SCHEMA_NAME = "3F000"
"""PostgreSQL's class of errors about names and rights, and its codes for a missing right and for a schema that the
user may not see."""

_GRANT = "; let the owner of the database run: GRANT USAGE, CREATE ON SCHEMA public TO the user of the URL"

Columns = dict[str, set[str]]
"""The columns of tables, by the names of the tables."""

_TABLES = set(metadata.tables) | {"logins"}
"""The names of our tables. Up to revision 0008, `login_sessions` was `logins`."""


def upgrade(connection: Connection) -> None:
    """Upgrade the tables to the newest version, or raise `StartError`. The caller owns the transaction."""
    try:
        _upgrade(connection)
    except DBAPIError as error:
        if not _is_refusal(error):
            raise
        state = getattr(error.orig, "sqlstate", None)
        hint = _GRANT if state in {INSUFFICIENT_PRIVILEGE, INVALID_SCHEMA_NAME} else ""
        raise StartError(f"cannot make the tables in the database: {error.orig}{hint}") from None


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # If two processes start at once, one makes the tables and the other finds them.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
    found = _columns(connection)
    revision = _check(connection, found)
    if revision is not None and _version(connection, found, VERSION_TABLE) is None:
        _take_over(connection, revision)
    if revision is None:
        create_tables(connection, NEWEST, READABLE_FROM)
    elif revision != NEWEST and _is_known(revision):
        from gateway.store import revisions

        revisions.upgrade(connection, NEWEST)
        connection.execute(update(versions).values(readable_from=READABLE_FROM))
    elif revision != NEWEST:
        logger.warning("a newer gateway has upgraded the tables to %s; upgrade this one soon", revision)


def _is_refusal(error: DBAPIError) -> bool:
    """Return whether the database would refuse again: a table is in the way, or a right is missing."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_ERROR
    return str(getattr(error.orig, "sqlstate", None)).startswith((SYNTAX_OR_ACCESS, INVALID_SCHEMA_NAME))


def check(connection: Connection) -> str | None:
    """Return the revision of the gateway's tables, or None without tables. Raise `StartError` for foreign tables."""
    return _check(connection, _columns(connection))


def _check(connection: Connection, found: Columns) -> str | None:
    _check_encoding(connection)
    revision = _version(connection, found, VERSION_TABLE)
    if revision is not None:
        _check_shape(found, revision, _readable_from(connection, found))
        return revision
    in_the_way = sorted(found.keys() & _TABLES)
    if not in_the_way:
        return None
    former = FORMER_REVISIONS.get(_version(connection, found, FORMER_TABLE) or "")
    if former is None or _lacking(found, former):
        raise StartError(
            f"the database belongs to another application, whose tables are in the way: {', '.join(in_the_way)};"
            " name an empty database, or the gateway's own, in GATEWAY_DATABASE_URL"
        )
    return former


def _check_encoding(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StartError(
                f"expected a database in UTF8, got one in {encoding};"
                " make one with: createdb --encoding=UTF8 --template=template0 NAME"
            )


def _check_shape(found: Columns, revision: str, readable_from: str | None) -> None:
    if not _is_known(revision):
        if readable_from is None or readable_from > NEWEST:
            raise StartError(
                f"a newer gateway has written the database (its version is {revision});"
                " install that version again, or restore an older backup"
            )
        revision = NEWEST  # the newer tables have all that this gateway needs
    if lacking := _lacking(found, revision):
        raise StartError(
            f"the database is damaged: version {revision} needs {', '.join(lacking)},"
            " which is not there; restore a backup"
        )


def _is_known(revision: str) -> bool:
    if revision == NEWEST:
        return True
    from gateway.store import revisions

    return revision in revisions.known()


def _lacking(found: Columns, revision: str) -> list[str]:
    """Return what these tables lack of a revision's. Additional columns and tables are harmless."""
    shape = _shape(revision)
    return sorted(f"{table}.{name}" for table, names in shape.items() for name in names - found.get(table, set()))


def _shape(revision: str) -> Columns:
    """Return the columns of a revision. For an older one, run its migrations in memory."""
    if revision == NEWEST:
        return {table.name: set(table.columns.keys()) for table in metadata.sorted_tables}
    from gateway.store import revisions

    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            revisions.upgrade(connection, revision)
            return {name: columns for name, columns in _columns(connection).items() if name != VERSION_TABLE}
    finally:
        engine.dispose()


def _columns(connection: Connection) -> Columns:
    """Return the columns of everything with the name of one of our tables, even if it is not ours."""
    names = sorted(_TABLES | {VERSION_TABLE, FORMER_TABLE})
    query = text(_COLUMNS[connection.dialect.name]).bindparams(bindparam("names", expanding=True))
    found: Columns = {}
    for table, column in connection.execute(query, {"names": names}):
        found.setdefault(table, set()).add(column)
    return found


_COLUMNS = {
    "sqlite": """
        SELECT lower(kept.name), info.name FROM sqlite_master AS kept JOIN pragma_table_info(kept.name) AS info
        WHERE lower(kept.name) IN :names""",  # for SQLite, `Rooms` is `rooms`
    "postgresql": """
        SELECT kept.relname, info.attname FROM pg_class AS kept JOIN pg_attribute AS info ON info.attrelid = kept.oid
        WHERE kept.relname IN :names AND pg_table_is_visible(kept.oid) AND info.attnum > 0 AND NOT info.attisdropped""",
}


def _version(connection: Connection, found: Columns, table: str) -> str | None:
    """Return the version in a version table, or None without the table or without exactly one version."""
    if "version_num" not in found.get(table, set()):
        return None
    numbers = connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalars().all()  # noqa: S608 - constant
    return numbers[0] if len(numbers) == 1 else None


def _readable_from(connection: Connection, found: Columns) -> str | None:
    """Return the oldest version of the code that may use the tables. Up to revision 0020, nothing said so."""
    if "readable_from" not in found.get(VERSION_TABLE, set()):
        return None
    return connection.execute(select(versions.c.readable_from)).scalars().first()


def _take_over(connection: Connection, revision: str) -> None:
    """Write the version into its new table, and remove the former one."""
    from gateway.store import revisions

    revisions.stamp(connection, revision)
    connection.exec_driver_sql(f"DROP TABLE {FORMER_TABLE}")
