"""Users, in the form of the HTTP API."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from schemas.base import Timestamp, Wire
from schemas.names import ChosenUserName

MIN_PASSWORD_BYTES = 8
MAX_PASSWORD_BYTES = 1024


def password_problem(password: str, *, least: int = MIN_PASSWORD_BYTES) -> str | None:
    """Return the fault of a password, or None. Its length counts in bytes of UTF-8.

    `least` is 0 for passwords from elsewhere, which may follow other rules.
    """
    try:
        length = len(password.encode())
    except UnicodeEncodeError:
        return "expected text that can be written as UTF-8"
    if not least <= length <= MAX_PASSWORD_BYTES:
        return f"expected {least} to {MAX_PASSWORD_BYTES} bytes of UTF-8, got {length}"
    if "\0" in password:
        return "expected no NUL character"
    return None


def prepared(password: str) -> str:
    """Return the one form of a password that keyboards write in several (RFC 8265 §4.2, OpaqueString).

    Every other space becomes the ASCII one, and the text becomes NFC. Case and width stay.
    """
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


def _password(value: str) -> str:
    value = prepared(value)
    if problem := password_problem(value):
        raise PydanticCustomError("password", "{problem}", {"problem": problem})
    return value


def _no_nul(value: str) -> str:
    # PostgreSQL cannot store a NUL, and no name or address has one.
    if "\0" in value:
        raise PydanticCustomError("nul", "expected no NUL character")
    return value


# The schema counts characters, the rule counts bytes. They agree for ASCII passwords.
_PASSWORD_SCHEMA: JsonDict = {
    "format": "password",
    "minLength": MIN_PASSWORD_BYTES,
    "maxLength": MAX_PASSWORD_BYTES,
    "pattern": r"^[^\u0000]*$",
}
Password = Annotated[str, AfterValidator(_password), Field(json_schema_extra=_PASSWORD_SCHEMA)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]


class NewUser(Wire):
    """A registration."""

    username: ChosenUserName
    password: Password = Field(repr=False)
    full_name: Line | None = None
    email: Email | None = None


class PasswordChange(Wire):
    """A new password, and the old one as proof."""

    old_password: str = Field(repr=False, max_length=MAX_PASSWORD_BYTES, json_schema_extra={"format": "password"})
    new_password: Password = Field(repr=False)


class User(Wire):
    """A user, as shown to that user."""

    id: str
    username: str
    full_name: str | None = None
    email: str | None = None
    scopes: tuple[str, ...]
    created_at: Timestamp
