"""Two tables: a status code keeps the connection; a close code ends it and says whether to come back."""

from enum import Enum, IntEnum, StrEnum


class Status(IntEnum):
    """The outcome of a message: an HTTP status times 100, plus a number of the gateway's own."""

    OK = 20000
    BAD_FRAME = 40000
    AUTHENTICATION_FAILED = 40001
    UNKNOWN_TYPE = 40002
    TOKEN_EXPIRED = 40101
    TOKEN_REVOKED = 40102
    FORBIDDEN = 40300
    NOT_A_MEMBER = 40301
    QUOTA_EXCEEDED = 40302
    NOT_FOUND = 40400
    CONFLICT = 40900
    POSITION_LOST = 41000
    TOO_LARGE = 41300
    VALIDATION_FAILED = 42200
    RATE_LIMITED = 42900
    CANCELLED = 49900
    INTERNAL_ERROR = 50000
    UPSTREAM_FAILED = 50200
    UNAVAILABLE = 50300
    UPSTREAM_TIMEOUT = 50400

    @property
    def http(self) -> int:
        """Return the HTTP status: the first three digits, but 401 for a failed authentication (RFC 9110 §15.5.2)."""
        return 401 if self is Status.AUTHENTICATION_FAILED else self // 100

    @property
    def retryable(self) -> bool:
        """Return whether the same message may succeed later."""
        return self in _RETRYABLE

    @property
    def meaning(self) -> str:
        """Return what the status says, as a phrase."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.OK: "the message has succeeded",
    Status.BAD_FRAME: "not JSON, not an object, binary and not empty, or nested too deep",
    Status.AUTHENTICATION_FAILED: "no credential, a bad one, or an unknown `service`",
    Status.UNKNOWN_TYPE: "no handler for this `type`; the message names the nearest known ones",
    Status.TOKEN_EXPIRED: "the token has expired",
    Status.TOKEN_REVOKED: "the token's session has ended, or its user was disabled or deleted",
    Status.FORBIDDEN: (
        "a scope, a role or a right by room is missing, and the message names it; or the page's origin is not allowed"
    ),
    Status.NOT_A_MEMBER: "the room exists and the user is not in it",
    Status.QUOTA_EXCEEDED: "a user or a room has as many of something as allowed",
    Status.NOT_FOUND: "no such room, message or user; or nothing to cancel",
    Status.CONFLICT: "exists already, or changed meanwhile; or the `id` of an unordered message in progress",
    Status.POSITION_LOST: "an offset beyond the end of the room's log",
    Status.TOO_LARGE: "the message is over the limit; the error says both sizes",
    Status.VALIDATION_FAILED: "`details` lists the wrong fields, never the sender's input",
    Status.RATE_LIMITED: "`retry_after_ms` says when to try again, where time helps",
    Status.CANCELLED: "the client has cancelled the message; part of its work may be done",
    Status.INTERNAL_ERROR: "the error's message has the request id to quote",
    Status.UPSTREAM_FAILED: (
        "the service behind this type failed, or answered wrongly; it may have done the work, unless `message` says"
        " that it was not asked"
    ),
    Status.UNAVAILABLE: "the store or the token's outside service is down or overloaded; nothing was accepted",
    Status.UPSTREAM_TIMEOUT: "the service or the handler behind this type took too long; it may have done the work",
}

_RETRYABLE = frozenset({Status.RATE_LIMITED, Status.UNAVAILABLE, Status.UPSTREAM_FAILED, Status.UPSTREAM_TIMEOUT})


OWN_STATUSES = range(60000, 70000)
"""The statuses for an application's own errors."""


class Reconnect(StrEnum):
    """The client's next step after a close."""

    NEVER = "never"
    NEW_CREDENTIAL = "new_credential"
    AFTER_DELAY = "after_delay"
    WITH_BACKOFF = "with_backoff"


class Close(Enum):
    """The reason of a close: its code (RFC 6455 §7.4), its reason on the wire, the client's next step, and when.

    A code is a registered one if one fits, and otherwise one of 4000 to 4999.
    """

    BYE = (1000, "bye", Reconnect.NEVER, "the client asked")
    AUTHENTICATION_FAILED = (
        1008,
        "authentication_failed",
        Reconnect.NEW_CREDENTIAL,
        "the handshake's credential does not hold",
    )
    REFUSED_EXPIRED = (1008, "token_expired", Reconnect.NEW_CREDENTIAL, "the handshake's credential has expired")
    REFUSED_REVOKED = (
        1008,
        "token_revoked",
        Reconnect.NEW_CREDENTIAL,
        "its session has ended, or its user was disabled or deleted",
    )
    FORBIDDEN_ORIGIN = (1008, "forbidden_origin", Reconnect.NEVER, "the page's origin is not allowed")
    NOT_FOUND = (1008, "not_found", Reconnect.NEVER, "there is no WebSocket at this path")
    TOO_LARGE = (1009, "too_large", Reconnect.WITH_BACKOFF, "a frame is four times over the limit")
    INTERNAL_ERROR = (
        1011,
        "internal_error",
        Reconnect.WITH_BACKOFF,
        "a fault of ours, or a client that answers no ping",
    )
    DRAINING = (1012, "draining", Reconnect.AFTER_DELAY, "the gateway stops")
    OVERLOADED = (1013, "overloaded", Reconnect.WITH_BACKOFF, "too many connections, or the store is down")
    TOO_MANY_ERRORS = (4400, "too_many_errors", Reconnect.NEVER, "10 errors of the 400xx kind within 10 s")
    DISCONNECTED = (4403, "disconnected", Reconnect.NEVER, "a service or the operator has closed this connection")
    AUTH_TIMEOUT = (
        4408,
        "auth_timeout",
        Reconnect.WITH_BACKOFF,
        "no credential came within `GATEWAY_AUTH_TIMEOUT_SECONDS`",
    )
    TOKEN_EXPIRED = (4410, "token_expired", Reconnect.NEW_CREDENTIAL, "the token ended while connected")
    TOKEN_REVOKED = (
        4411,
        "token_revoked",
        Reconnect.NEW_CREDENTIAL,
        "the session ended while connected, or the user was disabled",
    )
    RATE_ABUSE = (4429, "rate_abuse", Reconnect.AFTER_DELAY, "the client stayed over its rate for too long")
    SLOW_CONSUMER = (4508, "slow_consumer", Reconnect.WITH_BACKOFF, "the client does not read what the gateway sends")

    def __init__(self, code: int, reason: str, reconnect: Reconnect, meaning: str) -> None:
        self.code = code
        self.reason = reason
        self.reconnect = reconnect
        self.meaning = meaning
