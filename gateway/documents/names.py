"""Names that are good in every language: letters and digits of ASCII, each name once."""

import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"[A-Za-z0-9]+")
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d"})
"""Letters that Unicode does not take apart into ASCII and accents."""


def pascal_case(text: str, otherwise: str = "Type") -> str:
    """Return a text as a name, such as `ChatSend` for `chat.send`. Before a digit, and alone, stands `otherwise`."""
    name = "".join(word[0].upper() + word[1:] for word in _WORD.findall(in_ascii(text)))
    return name if name[:1].isalpha() else otherwise + name


def in_ascii(text: str) -> str:
    """Return a text without accents, and with the number of each letter that is far from ASCII."""
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(_letter(character) for character in apart if not unicodedata.combining(character))


def _letter(character: str) -> str:
    return f" U{ord(character):04X} " if character.isalnum() and not character.isascii() else character


class Names:
    """The names that a document has used. Capitals count for nothing, as in names of files on some systems."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.lower() for name in taken}

    def take(self, wanted: str) -> str:
        """Return the name, with a number at its end if it is taken."""
        name, number = wanted, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name.lower())
        return name
