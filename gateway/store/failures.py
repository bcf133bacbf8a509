"""Classifies the errors of a database: the cause, the effect on the connection, and the words for the log."""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# OSError, because asyncpg reports an unreachable or silent server with the system's error.
FAILURES: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, sqlite3.Error)
"""Raised if a database fails to do something. A driver of PostgreSQL adds its own errors."""

_SQLITE_MISTAKES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_MISTAKE_CLASSES = frozenset({"22", "23", "42"})
"""PostgreSQL's classes of errors: wrong data, a violated constraint, an invalid statement."""

_NO_MISTAKES = frozenset({"42501", "42P05"})
"""In these classes, but no mistake in a statement: a missing right, another client's prepared statement."""

_CONFLICT_CLASSES = frozenset({"40", "55"})
"""Two transactions in conflict: a deadlock or a lock. The store and the connection are fine."""

_NOT_LET_IN = "28"


class NameTaken(Exception):
    """A row that is to be added has a name or an id that another row has."""


def is_mistake(error: BaseException) -> bool:
    """Return whether the statement is at fault. Any other error is the database's."""
    if isinstance(error, DBAPIError) and error.statement is None:
        return False
    cause = _origin(error)
    if isinstance(cause, OSError):
        return False  # an untrusted certificate is a ValueError too
    # asyncpg reports wrong data as a ValueError. With SQLAlchemy, that is the cause of the cause.
    if isinstance(cause, (*_SQLITE_MISTAKES, ValueError)) or isinstance(getattr(cause, "__cause__", None), ValueError):
        return True
    code = _code(cause)
    return code[:2] in _MISTAKE_CLASSES and code not in _NO_MISTAKES


def is_conflict(error: BaseException) -> bool:
    """Return whether another transaction was in the way, which is no sign of a broken store."""
    return _code(_origin(error))[:2] in _CONFLICT_CLASSES


def explain(error: BaseException, seconds: float) -> str:
    """Return the failure in one line. `seconds` is the time limit for an answer."""
    cause = _origin(error)
    if _code(cause)[:2] == _NOT_LET_IN:
        # The server's own words quote the user name.
        return f"the server refuses this user ({_code(cause)}); check the user name, the password and its rights"
    # SQLAlchemy's own text quotes the whole statement.
    return str(cause) or f"no answer within {seconds:g} seconds"


def _origin(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
