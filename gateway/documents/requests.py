"""What the formats for tools that send requests share: the log-in, the frame of each message, and safe names.

These tools replace `{{name}}` by a variable. So `json_text` writes other double braces in a form that only JSON reads.
"""

import json
import re
import unicodedata
from typing import Any

from gateway.documents.descriptions import MessageDescription

USERNAME = "dora"
PASSWORD = "correct-horse"  # noqa: S105 - a sample that needs no encoding in a form
FORM = {"grant_type": "password", "username": "{{username}}", "password": "{{password}}"}
"""The log-in of `POST /token`, with variables of the tools."""

LOG_IN = "Log in"
REGISTER = "Register"
CONNECT = "WebSocket"
"""The names of the requests that each collection has."""

_TOKEN = "the token of the log-in"  # noqa: S105 - a mark that is replaced
_CREDENTIALS = {"auth", "auth.refresh"}
_BRACES = re.compile(r"\{(?=[{%])")
_UNSAFE = re.compile(r"[^\w.-]+")
# Windows takes these for devices, with any suffix.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
MAX_NAME = 80


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON without `{{` and `{%`, and without invisible characters.

    Braces open next to each other inside a string only, where JSON has another way to write them.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(_escaped(letter) for letter in _BRACES.sub(r"\\u007b", text))


def frame_of(message: MessageDescription, example: Any, id: int = 1) -> dict[str, Any]:
    """Return the frame of a message. A credential in it is a mark, which `frame_text` replaces."""
    data = {"token": _TOKEN} if carries_token(message) else example
    return {"type": message.type, "id": id, "data": data}


def frame_text(message: MessageDescription, example: Any, id: int = 1, *, indent: int | None = 2) -> str:
    """Return the frame of a message as JSON, with the variable `token` for a credential."""
    return json_text(frame_of(message, example, id), indent).replace(_TOKEN, "{{token}}")


def carries_token(message: MessageDescription) -> bool:
    """Return whether the data of a message is the token of the log-in."""
    return message.type in _CREDENTIALS


def titles(message: MessageDescription) -> list[str]:
    """Return a title for each example of a message."""
    number = len(message.examples)
    return [title(message.type) + (f" ({each})" if each > 1 else "") for each in range(1, number + 1)]


def title(text: str) -> str:
    """Return a text as one printable line without double braces."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.replace("{{", "{ {").replace("{%", "{ %").split()) or "(no name)"


class Names:
    """Names of files: each once, also for a disk that ignores case, and none that leaves its folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, text: str) -> str:
        """Return a name for a text."""
        plain = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip(".-")[:MAX_NAME] or "unnamed"
        wanted = name = f"_{plain}" if _DEVICES.match(plain) else plain
        number = 1
        while _key(name) in self._taken:
            number += 1
            name = f"{wanted}-{number}"
        self._taken.add(_key(name))
        return name


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
