"""Lists in pages. The cursor of the next page is the `next_cursor` of this one."""

from typing import Annotated

from fastapi import Query

MAX_LIMIT = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most items of the page.")]

NameCursor = Annotated[
    str | None,
    Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="The `next_cursor` of the page before."),
]
"""A cursor that is a name, as lists by name have it."""
