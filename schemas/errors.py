"""The error, as a frame of the socket and as a body of the HTTP API."""

from typing import Any

from schemas.base import FieldError, Wire


class ErrorBody(Wire):
    """An error: the `status` and its `name` for programs, the `message` for people."""

    status: int
    name: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None
    details: tuple[FieldError, ...] | None = None


class HttpErrorBody(ErrorBody):
    """The error over HTTP; `detail` repeats the text for FastAPI's clients."""

    detail: Any = None
