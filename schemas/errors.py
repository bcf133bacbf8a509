"""The error, as a frame of the socket and as a body of the HTTP API."""

from schemas.base import FieldError, Wire
from schemas.codes import Status


class ErrorBody(Wire):
    """What went wrong: the `status` and its `name` for programs, the `message` for people."""

    status: int
    name: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None
    details: tuple[FieldError, ...] | None = None

    @classmethod
    def of(
        cls,
        status: Status,
        message: str,
        *,
        retry_after_ms: int | None = None,
        details: tuple[FieldError, ...] | None = None,
    ) -> "ErrorBody":
        """Make the body for a status of the table."""
        return cls(
            status=status,
            name=status.name.lower(),
            message=message,
            retryable=status.retryable,
            retry_after_ms=retry_after_ms,
            details=details,
        )
