"""The names of rooms, users and scopes. Rooms and users have lower-case names that are safe in a URL and a log."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

ROOM_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
USER_NAME = r"^[a-z0-9][a-z0-9._-]{2,31}$"
SCOPE_NAME = r"^[\x21\x23-\x5B\x5D-\x7E]{1,64}$"
"""The form of a scope in a token's list, which spaces separate (RFC 6749 §3.3)."""

DEFAULT_SCOPES = frozenset({"chat:read", "chat:write", "rooms:manage"})
"""What every new user may do, unless the operator says otherwise; `admin` is given by name."""

MAX_SCOPES_LENGTH = 1024
"""The most characters of all scopes of a user, or of a token, together."""


def normalized_user_name(name: str) -> str:
    """Return the stored form of a typed user name. Phones add capitals, spaces and wide letters.

    Registration and log-in both use this. So a registered user can log in, and no two users differ only by case or
    width (RFC 8265 §3.3, UsernameCaseMapped).
    """
    return _WIDE.sub(_narrow, name.strip(_SPACES)).lower()


_SPACES = " \u00a0\u3000"
_WIDE = re.compile("[\uff01-\uff5e]")  # only these have the letters, digits and signs of a name


def _narrow(found: re.Match[str]) -> str:
    return chr(ord(found[0]) - 0xFEE0)


has_digits_of_an_id = re.compile(r"-[0-9a-f]{16}\Z").search
"""Return whether a name ends as the gateway ends the names that it makes up for users of other services."""


def _folded(value: object) -> object:
    return normalized_user_name(value) if isinstance(value, str) else value


_is_room_name = re.compile(ROOM_NAME).fullmatch  # for every message, so it skips the cache of `re`


def _room_name(value: str) -> str:
    if _is_room_name(value) is None or value.endswith("\n"):
        raise PydanticCustomError("room_name", "expected 1 to 64 of a-z 0-9 - _ . with a letter or digit first")
    return value


def _user_name(value: str) -> str:
    if re.fullmatch(USER_NAME, value) is None or value.endswith("\n"):
        raise PydanticCustomError("user_name", "expected 3 to 32 of a-z 0-9 - _ . with a letter or digit first")
    return value


def _scope_name(value: str) -> str:
    if re.fullmatch(SCOPE_NAME, value) is None or value.endswith("\n"):
        raise PydanticCustomError("scope_name", 'expected 1 to 64 visible ASCII characters but no " and no \\')
    return value


RoomName = Annotated[
    str, AfterValidator(_room_name), Field(examples=["lobby"], json_schema_extra={"pattern": ROOM_NAME})
]
UserName = Annotated[
    str, AfterValidator(_user_name), Field(examples=["alice"], json_schema_extra={"pattern": USER_NAME})
]
TypedUserName = Annotated[UserName, BeforeValidator(_folded)]
"""A user name in any typed form."""


def _own_choice(value: str) -> str:
    if has_digits_of_an_id(value):
        raise PydanticCustomError(
            "user_name", "expected a name that does not end with - and 16 of 0-9 a-f, as names from other services do"
        )
    return value


ChosenUserName = Annotated[TypedUserName, AfterValidator(_own_choice)]
"""A user name that a registering user may choose."""

SIGNAL_NAME = r"^[a-z0-9._-]{1,64}$"


def _signal_name(value: str) -> str:
    if re.fullmatch(SIGNAL_NAME, value) is None or value.endswith("\n"):
        raise PydanticCustomError("signal_name", "expected 1 to 64 of a-z 0-9 - _ .")
    return value


SignalName = Annotated[
    str, AfterValidator(_signal_name), Field(examples=["cursor"], json_schema_extra={"pattern": SIGNAL_NAME})
]
"""The name of a signal, which the application chooses."""

GroupName = Annotated[str, AfterValidator(_room_name), Field(json_schema_extra={"pattern": ROOM_NAME})]
"""The name of a group of users, in the form of a room's."""

ScopeName = Annotated[str, AfterValidator(_scope_name), Field(json_schema_extra={"pattern": SCOPE_NAME})]
