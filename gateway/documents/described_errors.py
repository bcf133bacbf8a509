"""What documents say about the statuses of the gateway's table, and about the errors of an application."""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.documents.described_calls import documented
from gateway.documents.descriptions import ErrorDescription
from handlers.errors import AppError
from schemas.codes import Status


def statuses() -> Iterator[ErrorDescription]:
    """Return the statuses of the table."""
    for status in Status:
        name = status.name.lower()
        yield ErrorDescription(
            status=int(status),
            name=name,
            summary=status.meaning,
            retryable=status.retryable,
            http_status=status.http,
            examples=() if status is Status.OK else (_example(int(status), name, status.meaning, status.retryable),),
        )


def errors_of(errors: Iterable[type[AppError]]) -> Iterator[ErrorDescription]:
    """Return the errors of an application."""
    for error in errors:
        summary = documented(error.__doc__)[0] or error.name
        texts = error.examples or (summary,)
        yield ErrorDescription(
            status=error.status,
            name=error.name,
            summary=summary,
            retryable=error.retryable,
            http_status=error.http_status,
            examples=tuple(_example(error.status, error.name, text, error.retryable) for text in texts),
        )


def _example(status: int, name: str, message: str, retryable: bool) -> dict[str, Any]:
    return {"status": status, "name": name, "message": message, "retryable": retryable}
