"""The places of the page that a link can lead to."""

import re
from urllib.parse import quote

_OTHER = re.compile(r"[^\w.-]")


def anchor(kind: str, name: object) -> str:
    """Return the id of a place, such as `message-chat.send`. Types that look alike have different ones."""
    return f"{kind}-" + _OTHER.sub(lambda found: f"~{ord(found[0]):x}", str(name))


def link_to(kind: str, name: object) -> str:
    """Return the link to a place of the page."""
    return "#" + quote(anchor(kind, name))
