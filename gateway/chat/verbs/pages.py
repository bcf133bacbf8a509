"""Pages that fit into a frame."""

from collections.abc import Sequence

ENVELOPE_BYTES = 12_000
"""The bytes of a frame around the items of a page, or around a message's content."""

MAX_PAGE_BYTES = 250_000
"""The bytes of one page's items. With its envelope, a frame stays under 256 KiB, since phones have limits too."""

READ_BYTES = 2 * MAX_PAGE_BYTES
"""The bytes of content to read for a page. JSON takes no fewer, so the read includes the first item too many."""


def fitting_texts(texts: Sequence[bytes]) -> Sequence[bytes]:
    """Return the first items, as JSON, that fit into one frame, and at least one."""
    size = 0
    for count, text in enumerate(texts):
        size += len(text)
        if size > MAX_PAGE_BYTES and count:
            return texts[:count]
    return texts
