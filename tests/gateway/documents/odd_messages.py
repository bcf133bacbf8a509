"""Messages of an application that no file, no shell and no template likes, and a catalog with them.

Each answers with its own data, so a test sees what has arrived.
"""

from gateway.documents.catalog import Catalog, catalog_of
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, Registry
from schemas.base import Wire

ODD_TYPES = (
    "größe-ändern",
    "发送 消息",
    "a/../../b",
    "../escape",
    "..",
    "C:\\windows",
    "con",
    "CON.x",
    "UPPER",
    "upper",
    "quote\"'`s",
    "{{token}}",
    "%7d}}",
    "{% x %}",
    "${a}",
    "new\nline ### x",
    "tab\t\u2028",
    "@disabled",
    "===",
    "< ./file",
    "> {% %}",
    "*/ //",
    "#",
    "- yes: no",
    "</script>",
    "x" * 64,
)


class Note(Wire):
    """A note."""

    text: str


def handler_of(type: str) -> type[MsgHandler[Note, Note]]:
    """Make a handler with an example as odd as its type."""

    class OddHandler(MsgHandler[Note, Note]):
        """@disabled {{x}} Sends a note's text back."""

        schema = Note
        examples = ({"text": text_of(type)},)

        async def handle(self, data: Note) -> Note:
            return data

    return OddHandler


def text_of(type: str) -> str:
    """The text in the example of a type."""
    return f"{{{{token}}}} {{{{{{x}} \u2028 \ufeff \x7f ### \n=== {{% x %}} ${{a}} \\ ' \" ` */ </script> {type} "


ODD = Registry(handlers={each: handler_of(each) for each in ODD_TYPES})
WITH_ODD = BUILT_IN | ODD


def odd_catalog() -> Catalog:
    """Describe the built-in messages and the odd ones."""
    return catalog_of(WITH_ODD)
