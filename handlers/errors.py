"""What can be wrong with a message.

    MessageError
        BadFrame                40000  not a JSON object, or one that we will not take
        AuthenticationFailed    40001  no credential, or a bad one
            TokenExpired        40101
            TokenRevoked        40102
        UnknownType             40002  no handler for this type
        Forbidden               40300  not for this user
            MissingScope               not with this token
        NotAMember              40301
        QuotaExceeded           40302  as many as there may be; time does not help
        NotFound                40400
        Conflict                40900  exists already, or changed meanwhile
        PositionLost            41000
        TooLarge                41300
        ValidationFailed        42200  fields are wrong
        RateLimited             42900
        InternalError           50000  our fault
        Unavailable             50300  store or bus is down; nothing was accepted
        AppError         60000–69999  an application's own

All but `InternalError` and `Unavailable` are the client's mistakes. Each carries its data and words itself.
"""

import difflib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from schemas.base import FieldError
from schemas.codes import OWN_STATUSES, Status
from schemas.errors import ErrorBody

MAX_DETAILS = 20
MAX_FIELD = 256
"""Characters of a detail's path, of which a client may have made up all names."""
MAX_FINDING = 256
"""Characters of what a detail says: a schema of an application's own may quote what came."""

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _is_own(status: object) -> bool:
    """Whether a status is an application's own."""
    # A range is searched from its start for a number that is of an enumeration: half a millisecond, for each error.
    return isinstance(status, int) and int(status) in OWN_STATUSES


class MessageError(Exception):
    """A message that is answered with an error; the connection lives on.

    `status` is one of the table, or an application's own of 60000 to 69999. The class may say how that one is called
    (`name`), whether the same message may succeed later (`retryable`), and what it is over HTTP (`http_status`).
    """

    status: int = Status.INTERNAL_ERROR
    retry_after_ms: int | None = None
    details: tuple[FieldError, ...] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise `TypeError` for a status that the protocol does not have."""
        super().__init_subclass__(**options)
        if not _is_own(cls.status) and cls.status not in set(Status):
            raise TypeError(
                f"{cls.__name__}.status: expected one of `schemas.codes.Status`, or {OWN_STATUSES.start} to"
                f" {OWN_STATUSES.stop - 1} for one of your own, got {cls.status!r}"
            )

    @property
    def name(self) -> str:
        """The name of the status: as in the table, or else the name of the class, in lower case."""
        if _is_own(self.status):
            return _WORD_BEGINS.sub("_", type(self).__name__).lower()
        return Status(self.status).name.lower()

    @property
    def retryable(self) -> bool:
        """Whether the same message may succeed later."""
        return not _is_own(self.status) and Status(self.status).retryable

    @property
    def http_status(self) -> int:
        """The status of an HTTP answer that is this error."""
        return int(HTTPStatus.BAD_REQUEST) if _is_own(self.status) else Status(self.status).http

    def body(self) -> ErrorBody:
        """Return the error as it goes to the client; raises `ValueError` for what cannot be sent."""
        return ErrorBody(
            status=int(self.status),
            name=self.name,
            message=str(self),
            retryable=self.retryable,
            retry_after_ms=self.retry_after_ms,
            details=self.details,
        )


class AppError(MessageError):
    """The base of an application's own errors.

    `class SoldOut(AppError): status = 60001` is all that one needs. After `raise SoldOut("no tickets are left")` the
    client gets 60001, `sold_out`, and the text.
    """

    status = OWN_STATUSES.start


class BadFrame(MessageError):
    """A frame that is not a JSON object, or one that no parser should have to take."""

    status = Status.BAD_FRAME


class AuthenticationFailed(MessageError):
    """No credential, or one that does not hold. Which of the two reasons is for the log alone."""

    status = Status.AUTHENTICATION_FAILED


class TokenExpired(AuthenticationFailed):
    """A credential that held until recently."""

    status = Status.TOKEN_EXPIRED


class TokenRevoked(AuthenticationFailed):
    """A credential that was taken back, or whose user was."""

    status = Status.TOKEN_REVOKED


class UnknownType(MessageError):
    """A message whose type has no handler; names the nearest ones that have."""

    status = Status.UNKNOWN_TYPE

    def __init__(self, type: str, known: Iterable[str]) -> None:
        self.nearest = difflib.get_close_matches(type, known, n=3)

    def __str__(self) -> str:
        # The type itself is the sender's input and is not sent back.
        if not self.nearest:
            return "no handler for this type"
        return "no handler for this type; did you mean " + " or ".join(f"`{name}`" for name in self.nearest)


class Forbidden(MessageError):
    """Something that this user may not do."""

    status = Status.FORBIDDEN


class MissingScope(Forbidden):
    """A message that needs a scope which the token lacks."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __str__(self) -> str:
        return f"this needs the scope `{self.scope}`, which the token does not have"


class NotAMember(MessageError):
    """A room that exists, used by one who is not in it."""

    status = Status.NOT_A_MEMBER

    def __init__(self, room: str) -> None:
        self.room = room

    def __str__(self) -> str:
        return f"you are not a member of `{self.room}`; send `room.join` first"


class QuotaExceeded(MessageError):
    """One more of what a user or a room may have so many of; the message says of what, and how many."""

    status = Status.QUOTA_EXCEEDED


class NotFound(MessageError):
    """A room, message or user that does not exist, or that one may not know of."""

    status = Status.NOT_FOUND


class Conflict(MessageError):
    """Something that exists already, or that changed meanwhile."""

    status = Status.CONFLICT


class PositionLost(MessageError):
    """A position that the log of a room does not have, so that nothing can be resumed from it."""

    status = Status.POSITION_LOST


class TooLarge(MessageError):
    """A message over the limit. Sizes are bytes of UTF-8."""

    status = Status.TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"the message has {self.size} bytes and the limit is {self.limit}"


class ValidationFailed(MessageError):
    """A message with wrong fields; `details` lists them, without the sender's input."""

    status = Status.VALIDATION_FAILED

    def __init__(self, details: tuple[FieldError, ...]) -> None:
        self.details = details

    def __str__(self) -> str:
        fields = ", ".join(f"`{detail.field}`" for detail in self.details or ())
        return f"wrong fields: {fields}"

    @classmethod
    def of(cls, error: ValidationError, *prefix: str) -> "ValidationFailed":
        """Word pydantic's findings; `prefix` is where the validated part sits in the message."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            tuple(
                FieldError(field=field_path((*prefix, *item["loc"])), message=item["msg"][:MAX_FINDING])
                for item in found[:MAX_DETAILS]
            )
        )


class RateLimited(MessageError):
    """Too many of something. Try again after `retry_after_ms`."""

    status = Status.RATE_LIMITED

    def __init__(self, what: str, retry_after_ms: int | None = None) -> None:
        self.what = what
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"too many {self.what}"


class InternalError(MessageError):
    """Our fault. `reference` is what to quote; the log has the rest."""

    status = Status.INTERNAL_ERROR

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __str__(self) -> str:
        return f"something went wrong here; the request id to quote is {self.reference}"


class Unavailable(MessageError):
    """The store or the bus is down for now; nothing was accepted."""

    status = Status.UNAVAILABLE

    def __init__(self, part: str, retry_after_ms: int = 1000) -> None:
        self.part = part
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"the {self.part} is not available for now; nothing was accepted, try again"


def field_path(location: tuple[str | int, ...]) -> str:
    """Write where a field is, `data.users.3`; a name that a client made up is cut at 64 characters."""
    return ".".join(str(part)[:64] for part in location)[:MAX_FIELD] or "data"
