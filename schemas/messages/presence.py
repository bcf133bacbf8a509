"""Who is there."""

from typing import Literal

from pydantic import Field

from schemas.base import Timestamp, Wire
from schemas.names import UserName

State = Literal["online", "away", "offline"]


class GetPresence(Wire):
    """Ask whether users are there."""

    users: list[UserName] = Field(min_length=1, max_length=100)


class UserPresence(Wire):
    """Whether one user is there; an unknown one is offline and was never seen."""

    user: str
    state: State
    last_seen: Timestamp | None = None


class PresenceReply(Wire):
    """One entry per user, in the order asked."""

    users: tuple[UserPresence, ...]
