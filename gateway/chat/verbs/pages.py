"""Answers that fit into a frame."""

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel

ENVELOPE_BYTES = 12_000
"""Of a frame, for what is around the items of a page, or around what a message says."""

MAX_PAGE_BYTES = 250_000
"""Of the items of one page, so that with its envelope a frame stays under 256 KiB: phones have limits too."""

READ_BYTES = 2 * MAX_PAGE_BYTES
"""What messages may say of which a page is made: in JSON they take no less, so the first that does not fit is read."""

Item = TypeVar("Item", bound=BaseModel)


def fitting(items: Iterable[Item]) -> list[Item]:
    """Take items from the front for as long as they fit into one frame; the first one always does."""
    taken: list[Item] = []
    room = MAX_PAGE_BYTES
    for item in items:
        room -= len(item.model_dump_json(exclude_none=True).encode())
        if room < 0 and taken:
            break
        taken.append(item)
    return taken
