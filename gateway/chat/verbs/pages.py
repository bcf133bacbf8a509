"""Pages that fit into a frame."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from pydantic import BaseModel

ENVELOPE_BYTES = 12_000
"""The bytes of a frame around the items of a page, or around a message's content."""

MAX_PAGE_BYTES = 250_000
"""The bytes of one page's items. With its envelope, a frame stays under 256 KiB, since phones have limits too."""

READ_BYTES = 2 * MAX_PAGE_BYTES
"""The bytes of content to read for a page. JSON takes no fewer, so the read includes the first item too many."""

Item = TypeVar("Item", bound=BaseModel)


class Page(Generic[Item]):
    """The items of one frame."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._left = MAX_PAGE_BYTES

    def add(self, item: Item) -> bool:
        """Add an item and return whether it fits. The first one always does."""
        self._left -= len(item.model_dump_json(exclude_none=True).encode())
        if self._left < 0 and self.items:
            return False
        self.items.append(item)
        return True


def fitting(items: Iterable[Item]) -> list[Item]:
    """Return the first items that fit into one frame, and at least one."""
    page = Page[Item]()
    for item in items:
        if not page.add(item):
            break
    return page.items
