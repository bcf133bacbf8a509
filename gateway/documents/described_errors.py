"""What documents say about the statuses of the gateway's table, and about the errors of an application."""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.documents.described_calls import documented
from gateway.documents.descriptions import ErrorDescription
from handlers.errors import (
    AppError,
    AuthenticationFailed,
    BadFrame,
    Cancelled,
    InternalError,
    MessageError,
    MissingScope,
    NotAMember,
    NotFound,
    PositionLost,
    QuotaExceeded,
    RateLimited,
    TokenExpired,
    TokenRevoked,
    TooLarge,
    Unavailable,
    UnknownType,
    UpstreamFailed,
    UpstreamTimeout,
    ValidationFailed,
    WrongLength,
)
from schemas.base import FieldError
from schemas.codes import Status


def statuses() -> Iterator[ErrorDescription]:
    """Return the statuses of the table."""
    for status in Status:
        yield ErrorDescription(
            status=int(status),
            name=status.name.lower(),
            summary=status.meaning,
            retryable=status.retryable,
            http_status=status.http,
            examples=() if status is Status.OK else (_body_of(_EXAMPLES[status]),),
        )


_EXAMPLES: dict[Status, MessageError] = {
    Status.BAD_FRAME: BadFrame("expected a JSON object, got an array"),
    Status.AUTHENTICATION_FAILED: AuthenticationFailed("the credential is not valid"),
    Status.UNKNOWN_TYPE: UnknownType("chat.sned", ("chat.send", "chat.read", "chat.edit")),
    Status.TOKEN_EXPIRED: TokenExpired("the token has expired"),
    Status.TOKEN_REVOKED: TokenRevoked("the token has been revoked"),
    Status.FORBIDDEN: MissingScope("rooms:manage"),
    Status.NOT_A_MEMBER: NotAMember("lobby"),
    Status.QUOTA_EXCEEDED: QuotaExceeded("you own 100 rooms, and may not own more"),
    Status.NOT_FOUND: NotFound("there is no room `attic`"),
    Status.CONFLICT: WrongLength(9),
    Status.POSITION_LOST: PositionLost("the log of `lobby` ends at offset 57; join without `since`"),
    Status.TOO_LARGE: TooLarge(70_000, 65_536),
    Status.VALIDATION_FAILED: ValidationFailed((FieldError(field="data.text", message="Field required"),)),
    Status.RATE_LIMITED: RateLimited("messages", 500),
    Status.CANCELLED: Cancelled(),
    Status.INTERNAL_ERROR: InternalError("bc370f0204e466c3"),
    Status.UPSTREAM_FAILED: UpstreamFailed("", 1000, was_asked=False),
    Status.UNAVAILABLE: Unavailable("store"),
    Status.UPSTREAM_TIMEOUT: UpstreamTimeout(""),
}
"""An error of each status, as the gateway words it."""


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
            examples=tuple(_example(error, text) for text in texts),
        )


def _body_of(error: MessageError) -> dict[str, Any]:
    return error.body().model_dump(mode="json", exclude_none=True)


def _example(error: type[AppError], text: str) -> dict[str, Any]:
    return {"status": error.status, "name": error.name, "message": text, "retryable": error.retryable}
