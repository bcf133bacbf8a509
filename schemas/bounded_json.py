"""JSON values with a limit on their length, for what the gateway passes on and never stores."""

from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError, to_json

MAX_SIGNAL_BYTES = 4096
"""The longest `data` of a signal."""

MAX_STATE_BYTES = 1024
"""The longest custom state of a user in a room."""


def _at_most(most: int) -> AfterValidator:
    """Return the check that a value takes at most so many bytes as JSON, encoded as the gateway sends it."""

    def check(value: Any) -> Any:
        size = len(to_json(value))
        if size > most:
            raise PydanticCustomError("json_too_long", f"expected at most {most} bytes of JSON, got {size}")
        return value

    return AfterValidator(check)


SignalData = Annotated[Any, _at_most(MAX_SIGNAL_BYTES)]

CustomState = Annotated[dict[str, Any], _at_most(MAX_STATE_BYTES)]
"""What a user shows of itself in a room, such as `{"in_call": true}`."""
