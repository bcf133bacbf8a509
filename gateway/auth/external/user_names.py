"""The names of users that another service vouches for.

A claim becomes a name in one of three ways, the first one that fits:

- **plain**: a text that is a user name stays as it is;
- **address**: an e-mail address has `_` in place of its `@`;
- **marked**: anything else keeps up to 15 characters that can be read, with 16 digits of the user's id behind them.

No name of one kind can be one of another kind. A plain name has no dot behind its last `_`, and every address has one
there. Only a marked name ends with `-` and 16 hexadecimal digits. Among addresses, no two become the same name, since a
domain has no `_`. Two marked names differ because the ids of the users differ.
"""

import re
import unicodedata

from pydantic import TypeAdapter, ValidationError

from schemas.names import UserName, has_digits_of_an_id

MAX_READABLE = 15
DIGITS = 16

_user_name: TypeAdapter[str] = TypeAdapter(UserName)

_looks_like_address = re.compile(r"_[^_]*\.[^_]*\Z").search


def user_name(claim: str, text: str, user_id: str) -> str:
    """Return the name of a user, made of the text of a claim and of the id that the user has here.

    Capitals do not count, but in `sub`: there, `a` and `A` are two users.
    """
    folded = text if claim == "sub" else small_letters(text)
    name = _of_address(folded) if "@" in folded else _plain(folded)
    return name or marked_name(text, user_id)


def small_letters(text: str) -> str:
    """Return a text with small letters in place of capitals, so that no two other texts become one.

    The signs of Kelvin, ohm and ångström, and one for theta, are not the capitals of the small letters that they have.
    """
    return re.sub("[^\u212a\u2126\u212b\u03f4]+", lambda found: found[0].lower(), text)


def marked_name(text: str, user_id: str) -> str:
    """Return a name with digits of the user's id, behind what can be read of a text, or of the service's name."""
    service, _, digest = user_id.rpartition(":")
    readable = _readable(text.rpartition("@")[0] or text) or _readable(service)
    return f"{readable}-{digest[-DIGITS:]}"


def _plain(text: str) -> str | None:
    return None if _looks_like_address(text) else _valid(text)


def _of_address(text: str) -> str | None:
    local, _, domain = text.rpartition("@")
    return _valid(f"{local}_{domain}") if "." in domain and "_" not in domain else None


def _valid(text: str) -> str | None:
    try:
        return None if has_digits_of_an_id(text) else _user_name.validate_python(text)
    except ValidationError:
        return None


def _readable(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text[:256]).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", ascii_only).strip("-._")[:MAX_READABLE].rstrip("-._")
