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
    """The reason of a close: its code (RFC 6455 §7.4), its reason on the wire, and the client's next step.

    A code is a registered one if one fits, and otherwise one of 4000 to 4999.
    """

    BYE = (1000, "bye", Reconnect.NEVER)
    AUTHENTICATION_FAILED = (1008, "authentication_failed", Reconnect.NEW_CREDENTIAL)
    REFUSED_EXPIRED = (1008, "token_expired", Reconnect.NEW_CREDENTIAL)
    REFUSED_REVOKED = (1008, "token_revoked", Reconnect.NEW_CREDENTIAL)
    FORBIDDEN_ORIGIN = (1008, "forbidden_origin", Reconnect.NEVER)
    NOT_FOUND = (1008, "not_found", Reconnect.NEVER)
    TOO_LARGE = (1009, "too_large", Reconnect.WITH_BACKOFF)
    INTERNAL_ERROR = (1011, "internal_error", Reconnect.WITH_BACKOFF)
    DRAINING = (1012, "draining", Reconnect.AFTER_DELAY)
    OVERLOADED = (1013, "overloaded", Reconnect.WITH_BACKOFF)
    TOO_MANY_ERRORS = (4400, "too_many_errors", Reconnect.NEVER)
    DISCONNECTED = (4403, "disconnected", Reconnect.NEVER)
    AUTH_TIMEOUT = (4408, "auth_timeout", Reconnect.WITH_BACKOFF)
    TOKEN_EXPIRED = (4410, "token_expired", Reconnect.NEW_CREDENTIAL)
    TOKEN_REVOKED = (4411, "token_revoked", Reconnect.NEW_CREDENTIAL)
    RATE_ABUSE = (4429, "rate_abuse", Reconnect.AFTER_DELAY)
    SLOW_CONSUMER = (4508, "slow_consumer", Reconnect.WITH_BACKOFF)

    def __init__(self, code: int, reason: str, reconnect: Reconnect) -> None:
        self.code = code
        self.reason = reason
        self.reconnect = reconnect
