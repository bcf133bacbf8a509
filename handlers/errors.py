"""The errors that answer a message.

    MessageError
        BadFrame                40000  not a JSON object, or one that the gateway does not take
        AuthenticationFailed    40001  no credential, or a bad one
            TokenExpired        40101
            TokenRevoked        40102
        UnknownType             40002  no handler for this type
        Forbidden               40300  not for this user
            MissingScope               not with this token
        NotAMember              40301
        QuotaExceeded           40302  a quota is used up; time does not help
        NotFound                40400
        Conflict                40900  it exists already, or has changed meanwhile
            WrongLength                the text has another length than a piece for it expects
        PositionLost            41000
        TooLarge                41300
            TextTooLong                a text has grown over the limit
        ValidationFailed        42200  fields are wrong
        RateLimited             42900
        Cancelled               49900  the client has cancelled it
        InternalError           50000  the gateway's fault
        UpstreamFailed          50200  the service behind a message failed, or answered wrongly
        UpstreamTimeout         50400  the service behind a message took too long
        CallTimeout             50400  the handler of a message took too long
        Unavailable             50300  the store or the bus is down; nothing was accepted
        AppError         60000–69999  an application's own

All but those of the 5xx00 kind are the client's mistakes. Each carries its data and writes its own text.
"""

import difflib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.base import DefinitionError, FieldError, place_of
from schemas.codes import OWN_STATUSES, Status
from schemas.errors import ErrorBody

MAX_DETAILS = 20
MAX_FIELD = 256
"""Characters of a detail's path. A client may have made up all of its names."""
MAX_FINDING = 256
"""Characters of a detail's message. An application's own schema may quote the input."""

_OWN = f"{OWN_STATUSES.start} to {OWN_STATUSES.stop - 1}"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_BUILT_IN_NAMES = frozenset(status.name.lower() for status in Status)
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_own(status: object) -> bool:
    """Return whether a status is an application's own."""
    # `int()`, because a range searches from its start for an enumeration's number: half a millisecond an error.
    return isinstance(status, int) and int(status) in OWN_STATUSES


def _check_status(error: "type[MessageError]") -> None:
    if not is_own(error.status) and error.status not in set(Status):
        raise DefinitionError(
            f"{place_of(error)}.status: expected one of `schemas.codes.Status`, or {_OWN} for one of your own,"
            f" got {error.status!r}"
        )


def _check_name(error: "type[MessageError]") -> None:
    if not _NAME.fullmatch(str(error.name)):
        raise DefinitionError(
            f"{place_of(error)}.name: expected 1 to 64 lower-case letters, digits and underscores, such as sold_out,"
            f" got {error.name!r}"
        )
    if error.name in _BUILT_IN_NAMES:
        raise DefinitionError(
            f"{place_of(error)}.name: expected a name that the gateway itself does not have, got {error.name!r};"
            " set `name` to another"
        )


def _set_defaults(error: "type[MessageError]") -> None:
    """Set what the class itself leaves out: for a status of the table all of it, for an own one its name."""
    defaults: dict[str, object]
    if not is_own(error.status):
        status = Status(error.status)
        defaults = {"name": status.name.lower(), "retryable": status.retryable, "http_status": status.http}
    elif any(is_own(vars(base).get("status")) for base in error.__mro__[1:]):
        defaults = {"name": _name_from_class(error)}  # the base may have set the others
    else:
        bad_request = int(HTTPStatus.BAD_REQUEST)
        defaults = {"name": _name_from_class(error), "retryable": False, "http_status": bad_request}
    for key, value in defaults.items():
        if key not in vars(error):
            setattr(error, key, value)


def _name_from_class(error: type) -> str:
    return _WORD_BEGINS.sub("_", error.__name__).lower()


class MessageError(Exception):
    """An error that answers a message; the connection lives on.

    `status` is one of the table, or an application's own of 60000 to 69999. A class with its own status may set its
    `name`, whether the same message may succeed later (`retryable`), and its status over HTTP (`http_status`).
    Without a `name`, it takes that of the class in lower case. `examples` are texts that documents show.
    """

    status: ClassVar[int] = Status.INTERNAL_ERROR
    name: ClassVar[str] = Status.INTERNAL_ERROR.name.lower()
    retryable: bool = False
    http_status: int = Status.INTERNAL_ERROR.http
    examples: ClassVar[tuple[str, ...]] = ()
    retry_after_ms: int | None = None
    details: tuple[FieldError, ...] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Set what follows from the status; raise `DefinitionError` for a status or a name that cannot be."""
        super().__init_subclass__(**options)
        if "status" in vars(cls):
            _check_status(cls)
            _set_defaults(cls)
        if is_own(cls.status):
            _check_name(cls)

    def body(self) -> ErrorBody:
        """Return the error in its wire form, or raise `ValueError` if it has none."""
        if self.status != type(self).status:
            raise ValueError(f"{type(self).__name__}: expected the status of the class, got {self.status!r}")
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

    `class SoldOut(AppError): status = 60001` is a complete error. After `raise SoldOut("no tickets are left")` the
    client gets 60001, `sold_out`, and the text.
    """

    status = OWN_STATUSES.start

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise `DefinitionError` for a status that is not an application's own."""
        if not is_own(cls.status):
            raise DefinitionError(f"{place_of(cls)}.status: expected {_OWN}, got {cls.status!r}")
        super().__init_subclass__(**options)


class BadFrame(MessageError):
    """A frame that is no JSON object, or one that no parser should have to read."""

    status = Status.BAD_FRAME


class AuthenticationFailed(MessageError):
    """No credential, or a bad one. Only the log has the reason."""

    status = Status.AUTHENTICATION_FAILED


class TokenExpired(AuthenticationFailed):
    """A good credential that has expired."""

    status = Status.TOKEN_EXPIRED


class TokenRevoked(AuthenticationFailed):
    """A revoked credential, or the credential of a disabled user."""

    status = Status.TOKEN_REVOKED


class UnknownType(MessageError):
    """A message type without a handler. The text names the nearest types that have one."""

    status = Status.UNKNOWN_TYPE

    def __init__(self, type: str, known: Iterable[str]) -> None:
        self.nearest = difflib.get_close_matches(type, known, n=3)

    def __str__(self) -> str:
        # The text does not repeat the type, which is the sender's input.
        if not self.nearest:
            return "no handler for this type"
        return "no handler for this type; did you mean " + " or ".join(f"`{name}`" for name in self.nearest)


class Forbidden(MessageError):
    """An action that this user may not do."""

    status = Status.FORBIDDEN


class MissingScope(Forbidden):
    """A message that needs a scope that the token lacks."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __str__(self) -> str:
        return f"this message needs the scope `{self.scope}`, and the token does not have it"


class NotAMember(MessageError):
    """A room that the user is not a member of."""

    status = Status.NOT_A_MEMBER

    def __init__(self, room: str) -> None:
        self.room = room

    def __str__(self) -> str:
        return f"you are not a member of `{self.room}`; send `room.join` first"


class QuotaExceeded(MessageError):
    """One more than a user or a room may have. The text says of what, and how many."""

    status = Status.QUOTA_EXCEEDED


class NotFound(MessageError):
    """A room, message or user that does not exist, or that is hidden from this user."""

    status = Status.NOT_FOUND


class Conflict(MessageError):
    """A name or state that exists already, or that has changed meanwhile."""

    status = Status.CONFLICT


class WrongLength(Conflict):
    """A piece for a text that has another length than the sender believes. `details` has the length."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.details = (FieldError(field="data.at", message=f"expected {length}"),)

    def __str__(self) -> str:
        return f"expected a piece for a text of {self.length} characters; read the message, and go on from there"


class PositionLost(MessageError):
    """A position that the room's log does not have, so that the client cannot resume from it."""

    status = Status.POSITION_LOST


class TooLarge(MessageError):
    """A message over the limit. Sizes are in bytes of UTF-8."""

    status = Status.TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"expected a message of at most {self.limit} bytes, got {self.size}"


class TextTooLong(TooLarge):
    """A text that would grow over the limit. Sizes are in characters."""

    def __str__(self) -> str:
        return f"expected a text that grows to at most {self.limit} characters, got {self.size}; send a new message"


class ValidationFailed(MessageError):
    """A message with wrong fields; `details` lists them, without the sender's input."""

    status = Status.VALIDATION_FAILED

    def __init__(self, details: tuple[FieldError, ...]) -> None:
        self.details = details

    def __str__(self) -> str:
        fields = ", ".join(f"`{detail.field}`" for detail in self.details or ())
        return f"wrong fields: {fields}"

    @classmethod
    def from_pydantic(cls, error: ValidationError, *prefix: str) -> "ValidationFailed":
        """Return the error for pydantic's findings. `prefix` is the path of the validated part in the message."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            tuple(
                FieldError(field=field_path((*prefix, *item["loc"])), message=finding(item)[:MAX_FINDING])
                for item in found[:MAX_DETAILS]
            )
        )


class RateLimited(MessageError):
    """More than a rate allows. The client may try again after `retry_after_ms`."""

    status = Status.RATE_LIMITED

    def __init__(self, what: str, retry_after_ms: int | None = None) -> None:
        self.what = what
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"too many {self.what}"


class Cancelled(MessageError):
    """A message that its client has cancelled. It may have done part of its work."""

    status = Status.CANCELLED

    def __str__(self) -> str:
        return "you have cancelled this message; part of its work may be done"


class InternalError(MessageError):
    """A fault of the gateway. The log has the rest under `reference`."""

    status = Status.INTERNAL_ERROR

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __str__(self) -> str:
        return f"the gateway failed; quote the request id {self.reference} to its operator"


class UpstreamFailed(MessageError):
    """The service behind a message failed, or its answer was wrong. The reason is for the log, and for no client.

    `was_asked` is False if the service has certainly got nothing of the message.
    """

    status = Status.UPSTREAM_FAILED

    def __init__(self, reason: str, retry_after_ms: int | None = None, *, was_asked: bool = True) -> None:
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        self.was_asked = was_asked

    def __str__(self) -> str:
        if not self.was_asked:
            return "the service behind this message is not available for now; it was not asked, try again"
        return "the service behind this message failed; it may have done the work or not"


class UpstreamTimeout(MessageError):
    """The service behind a message did not answer in time. The reason is for the log."""

    status = Status.UPSTREAM_TIMEOUT

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return "the service behind this message did not answer in time; it may have done the work or not"


class CallTimeout(MessageError):
    """A message that its handler has worked on for too long."""

    status = Status.UPSTREAM_TIMEOUT

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __str__(self) -> str:
        return f"this message was ended after {self.seconds:g} seconds; part of its work may be done"


class Unavailable(MessageError):
    """The store or the bus is down for now; nothing was accepted."""

    status = Status.UNAVAILABLE

    def __init__(self, part: str, retry_after_ms: int = 1000) -> None:
        self.part = part
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"the {self.part} is not available for now; nothing was accepted, try again"


_KINDS_OF_JSON = {
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
}


def finding(error: ErrorDetails) -> str:
    """Return what pydantic has found, in the words of JSON: a client knows objects and arrays, and no classes."""
    kind = _KINDS_OF_JSON.get(error["type"])
    return error["msg"] if kind is None else f"Input should be {kind}"


def field_path(location: tuple[str | int, ...]) -> str:
    """Return the path of a field, such as `data.users.3`. Cut a name at 64 characters, since a client may invent it."""
    return ".".join(str(part)[:64] for part in location)[:MAX_FIELD] or "data"
