"""The error, as a frame of the socket and as a body of the HTTP API."""

from schemas.base import FieldError, Wire


class ErrorBody(Wire):
    """What went wrong: the `status` and its `name` for programs, the `message` for people."""

    status: int
    name: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None
    details: tuple[FieldError, ...] | None = None
