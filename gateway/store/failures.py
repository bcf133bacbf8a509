"""What a database reports: whose fault it is, what it says of the connection, and how it is worded in a log."""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# OSError, because asyncpg reports a server that is not there, or does not answer, as the system does.
FAILURES: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, sqlite3.Error)
"""What is raised when a database does not do what it is asked; a driver of PostgreSQL has errors of its own besides."""

_SQLITE_MISTAKES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_MISTAKE_CLASSES = frozenset({"22", "23", "42"})
"""PostgreSQL's classes of errors: wrong data, a constraint that does not hold, a statement that means nothing."""

_NO_MISTAKES = frozenset({"42501", "42P05"})
"""Of these classes, but not in a statement of ours: a missing right, and another client's prepared statement."""

_CONFLICT_CLASSES = frozenset({"40", "55"})
"""Two transactions in each other's way: a deadlock, or a lock that is taken. The store and the connection are well."""

_NOT_LET_IN = "28"


def is_mistake(error: BaseException) -> bool:
    """Return whether the fault is in a statement; all else the database says of itself."""
    if isinstance(error, DBAPIError) and error.statement is None:
        return False
    cause = _origin(error)
    if isinstance(cause, OSError):
        return False  # a certificate that is not trusted is a ValueError as well
    # Wrong data that asyncpg finds itself is a ValueError; under SQLAlchemy, that is the cause of the cause.
    if isinstance(cause, (*_SQLITE_MISTAKES, ValueError)) or isinstance(getattr(cause, "__cause__", None), ValueError):
        return True
    code = _code(cause)
    return code[:2] in _MISTAKE_CLASSES and code not in _NO_MISTAKES


def is_conflict(error: BaseException) -> bool:
    """Return whether another transaction was in the way, which says nothing about the store."""
    return _code(_origin(error))[:2] in _CONFLICT_CLASSES


def explain(error: BaseException, seconds: float) -> str:
    """Return what went wrong in a line; `seconds` is how long an answer was waited for."""
    cause = _origin(error)
    if _code(cause)[:2] == _NOT_LET_IN:
        # In its own words the server quotes the user name.
        return (
            f"the server does not let this user in ({_code(cause)}); check the user name, the password and its rights"
        )
    # SQLAlchemy's own text quotes the statement, at length.
    return str(cause) or f"no answer within {seconds:g} seconds"


def _origin(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
