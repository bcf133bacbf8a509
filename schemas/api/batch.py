"""Several operations in one request."""

from typing import Any

from pydantic import ConfigDict, Field

from schemas.base import MAX_TYPE_LENGTH, Wire
from schemas.errors import ErrorBody

MAX_ITEMS = 100


class BatchItem(Wire):
    """One operation, with the data that it takes."""

    operation: str = Field(min_length=1, max_length=MAX_TYPE_LENGTH, examples=["publish"])
    data: Any = Field(default_factory=dict)


class Batch(Wire):
    """Operations that happen one after the other. One that fails stops no other."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"operation": "member.put", "data": {"room": "lobby", "user": "alice"}},
                        {"operation": "publish", "data": {"rooms": ["lobby"], "message": {"text": "Welcome, Alice"}}},
                    ]
                }
            ]
        }
    )

    items: list[BatchItem] = Field(min_length=1, max_length=MAX_ITEMS)


class BatchResult(Wire):
    """The outcome of one operation: its `status`, and the `data` that it returns or its `error`."""

    status: int
    data: Any = None
    error: ErrorBody | None = None


class BatchReply(Wire):
    """The outcomes, in the order of the operations."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [
                        {
                            "status": 20000,
                            "data": {"room": "lobby", "user": "alice", "role": "member", "new": True},
                        },
                        {
                            "status": 40400,
                            "error": {
                                "status": 40400,
                                "name": "not_found",
                                "message": "there is no room `plans`",
                                "retryable": False,
                            },
                        },
                    ]
                }
            ]
        }
    )

    results: tuple[BatchResult, ...]
