"""HTML that cannot be broken: each text in it is escaped, also what an application has written there."""

from collections.abc import Iterable
from html import escape

from gateway.documents.plain import plain


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


Content = str | Html | Iterable["Content"] | None

_EMPTY = {"br", "input", "link", "meta"}


def tag(name: str, /, *content: Content, **attributes: str | bool | None) -> Html:
    """Return an element. `class_` stands for the attribute `class`, and `data_x` for `data-x`."""
    written = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if name in _EMPTY else f"{joined(*content)}</{name}>"
    return Html(f"<{name}{written}>{end}")


def joined(*content: Content) -> Html:
    """Return parts one after the other."""
    return Html("".join(map(_written, content)))


def _written(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return _escaped(content)
    return "".join(map(_written, content))


def _escaped(text: str) -> str:
    # A control character is no HTML, and half of a character no UTF-8.
    return escape("".join(letter for letter in str(plain(text)) if letter >= " " or letter in "\t\n"))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
