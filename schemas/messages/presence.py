"""Presence of users."""

from typing import Literal

from pydantic import ConfigDict, Field

from schemas.base import Timestamp, Wire
from schemas.bounded_json import CustomState
from schemas.names import RoomName, UserName

State = Literal["online", "away", "offline"]


class GetPresence(Wire):
    """Ask for the presence of users."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"users": ["alice", "bobby"]}]})

    users: list[UserName] = Field(min_length=1, max_length=100)


class SetPresence(Wire):
    """Show the others in a room a state of your own, on this connection. A null `state` takes it back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"room": "lobby", "state": {"in_call": True}}, {"room": "lobby", "state": None}]
        }
    )

    room: RoomName
    state: CustomState | None


class UserPresence(Wire):
    """The presence of one user. An unknown user is offline and has no `last_seen`."""

    user: str
    state: State
    last_seen: Timestamp | None = None


class PresenceReply(Wire):
    """One entry per user, in the requested order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "users": [
                        {"user": "alice", "state": "online"},
                        {"user": "bobby", "state": "offline", "last_seen": "2026-11-20T23:21:30.112Z"},
                    ]
                }
            ]
        }
    )

    users: tuple[UserPresence, ...]
