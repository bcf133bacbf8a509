"""`ping`, `echo` and `announce`."""

from typing import Any

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, RootModel, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import Timestamp, Wire
from schemas.rules import exactly_one, with_rules

MAX_TEXT = 4000


class Echo(RootModel[Any]):
    """Any JSON; it comes back unchanged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"anything": [1, "two", None]}]})


class PingReply(Wire):
    """The gateway's time, so that a client can correct its own clock."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"server_time": "2026-11-20T23:20:08.785Z"}]})

    server_time: Timestamp


class Content(Wire):
    """The content of a message: a text for people, or a body of any JSON for programs; exactly one of the two."""

    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    body: Any = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about the two fields."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, exactly_one("text", "body"))

    @model_validator(mode="after")
    def _exactly_one(self) -> "Content":
        if (self.text is None) == (self.body is None):
            raise PydanticCustomError("content", "expected either `text` or `body`, and not both")
        return self


class Announce(Content):
    """Send an announcement to every connection."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Coffee!"}, {"body": {"maintenance_at": "18:00"}}]}
    )


class AnnounceReply(Wire):
    """The number of connections that get the announcement."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reached": 2}]})

    reached: int
