"""Names that are good in every language: letters and digits of ASCII, each name once."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Za-z0-9]+")


def pascal_case(text: str, otherwise: str = "Type") -> str:
    """Return a type as a name, such as `ChatSend`. A type without letters of ASCII has the name `otherwise`."""
    name = "".join(word[0].upper() + word[1:] for word in _WORD.findall(text))
    return name if name[:1].isalpha() else otherwise + name


class Names:
    """The names that a document has used."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, wanted: str) -> str:
        """Return the name, with a number at its end if it is taken."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name)
        return name
