"""Presence of users."""

from typing import Literal

from pydantic import Field

from schemas.base import Timestamp, Wire
from schemas.names import UserName

State = Literal["online", "away", "offline"]


class GetPresence(Wire):
    """Ask for the presence of users."""

    users: list[UserName] = Field(min_length=1, max_length=100)


class UserPresence(Wire):
    """The presence of one user. An unknown user is offline and has no `last_seen`."""

    user: str
    state: State
    last_seen: Timestamp | None = None


class PresenceReply(Wire):
    """One entry per user, in the requested order."""

    users: tuple[UserPresence, ...]
