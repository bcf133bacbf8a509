"""What goes wrong.

GatewayError
├── Refused            the gateway has answered a message with an error; the connection stays open
├── Lost               the connection ended before the answer came, or there is none any more
├── UnexpectedReply    the answer does not fit the model
├── Overflowed         a loop reads too slowly, and has lost events
└── NoToken            what `get_token` raises if there will be no token
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Reconnect(StrEnum):
    """The client's next step after a close."""

    NEVER = "never"
    NEW_CREDENTIAL = "new_credential"
    AFTER_DELAY = "after_delay"
    WITH_BACKOFF = "with_backoff"


class GatewayError(Exception):
    """The base of all errors of this package."""


@dataclass(frozen=True)
class FieldProblem:
    """A wrong field of a message: a path such as `data.text`, and what the gateway expected there."""

    field: str
    message: str


class Refused(GatewayError):
    """The gateway has refused a message. `status` and `name` are for programs, and the words for people."""

    def __init__(
        self,
        status: int,
        name: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after_ms: int = 0,
        details: Sequence[FieldProblem] = (),
    ) -> None:
        self.status = status
        self.name = name
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.details = tuple(details)
        super().__init__(status, name, message)  # with which it can be pickled and copied

    def __str__(self) -> str:
        fields = "; ".join(f"{each.field}: {each.message}" for each in self.details)
        return f"{self.message} ({fields})" if fields else self.message

    @classmethod
    def read(cls, error: Mapping[str, Any]) -> "Refused":
        """Return the error of a frame or a body, also of nonsense."""
        details = error.get("details")
        return cls(
            whole_number(error.get("status")),
            str(error.get("name", "")),
            str(error.get("message", "no reason")),
            retryable=error.get("retryable") is True,
            retry_after_ms=whole_number(error.get("retry_after_ms")),
            details=[
                FieldProblem(str(each.get("field", "")), str(each.get("message", "")))
                for each in (details if isinstance(details, list) else ())
                if isinstance(each, Mapping)
            ],
        )


class Lost(GatewayError):
    """The connection has ended, or none could be made. A message without an answer may have been handled.

    `code` is the code of the close, if there was one, and `reason` its word. `reconnect` is the client's next step.
    `final` is true if the client does not come back: the gateway object is closed.
    """

    def __init__(
        self,
        message: str,
        reconnect: Reconnect = Reconnect.WITH_BACKOFF,
        *,
        code: int | None = None,
        reason: str = "",
        after_ms: int = 0,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reconnect = reconnect
        self.code = code
        self.reason = reason
        self.after_ms = after_ms
        self.final = final

    def again(self) -> "Lost":
        """Return an equal error, so that each caller raises one of its own."""
        return self.ended() if self.final else self._copy(final=False)

    def ended(self, because: str = "") -> "Lost":
        """Return the same as the end for good."""
        return self._copy(final=True, because=because)

    def _copy(self, *, final: bool, because: str = "") -> "Lost":
        copy = Lost(
            f"{self.message}; {because}" if because else self.message,
            self.reconnect,
            code=self.code,
            reason=self.reason,
            after_ms=self.after_ms,
            final=final,
        )
        copy.__cause__ = self.__cause__
        return copy


class UnexpectedReply(GatewayError):
    """The gateway's answer does not fit the model of the reply."""


class Overflowed(GatewayError):
    """A loop over events or chunks is too slow: its queue was full, and what came then is missing.

    The loop may go on after it. What was missed of a room is in its history.
    """


class NoToken(GatewayError):
    """Raise this in `get_token` if there will be no token any more. The gateway object then closes with its words."""


def whole_number(value: object) -> int:
    """Return a number of the wire, or 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
