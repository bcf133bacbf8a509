"""Names for Python: of a class for a type such as `chat.send`, and of a field for any key of an object."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

from pydantic import BaseModel

TYPES_IN_USE = {"bool", "dict", "float", "int", "list", "str"}
"""A field with such a name would hide it from the annotations behind it."""

_TAKEN = TYPES_IN_USE | {"read", "root"} | {name for name in dir(BaseModel) if not name.startswith("__")}


def class_name(type: str, suffix: str, taken: Iterable[str]) -> str:
    """Return a name for the class of a message or an event. It gets the suffix, or a number, if the name is taken."""
    plain = unicodedata.normalize("NFKD", type).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Za-z0-9]+", plain)
    name = "".join(word[0].upper() + word[1:] for word in words)
    if not name or name[0].isdigit():
        name = f"{suffix}{name}"
    return _free(name, suffix, set(taken))


def _free(name: str, suffix: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while (found := f"{name}{suffix}" if number == 2 else f"{name}{suffix}{number - 1}") in taken:
        number += 1
    return found


def field_name(key: str, taken: Iterable[str]) -> str:
    """Return a name for the field of a key: the key itself wherever Python allows it."""
    taken = set(taken)
    if _is_good(key) and key not in taken:
        return key
    name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", key)).strip("_") or "field"
    if name[0].isdigit() or not name.isidentifier():
        name = f"field_{re.sub(r'[^0-9A-Za-z_]', '', name)}".rstrip("_")
    while not _is_good(name) or name in taken:
        name += "_"
    return name


def _is_good(name: str) -> bool:
    return (
        name.isidentifier()
        and unicodedata.normalize("NFKC", name) == name
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        and name not in _TAKEN
    )
