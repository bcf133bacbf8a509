"""`ping`, `echo` and `announce`."""

from typing import Any

from pydantic import ConfigDict, Field, RootModel, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Timestamp, Wire

MAX_TEXT = 4000


class Echo(RootModel[Any]):
    """Anything; it comes back as it was sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"anything": [1, "two", None]}]})


class PingReply(Wire):
    """The gateway's clock, for a client that wants to know how far its own is off."""

    server_time: Timestamp


class Content(Wire):
    """What a person or a program says: a text, or a body of any JSON; exactly one of the two."""

    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    body: Any = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Content":
        if (self.text is None) == (self.body is None):
            raise PydanticCustomError("content", "expected either `text` or `body`, and not both")
        return self


class Announce(Content):
    """Tell every connection something."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Coffee!"}]})


class AnnounceReply(Wire):
    """How many connections were told."""

    reached: int
