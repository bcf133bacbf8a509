"""The roles that may do each action in a room, as one table.

The verbs of a session and the changes to a room's log have no other rules about roles. Nothing here reads or writes.
"""

from collections.abc import Mapping
from enum import Enum, auto

from gateway.store.rooms import DIRECT, RoomRow
from handlers.errors import Conflict, Forbidden, NotAMember, NotFound
from schemas.messages.rooms import Role


class Action(Enum):
    """What a user may want to do in a room."""

    READ = auto()
    """Read the log and the list of members, hear the room, and mark what was read."""
    SEND = auto()
    """Send messages, typing and events."""
    EDIT_OWN = auto()
    EDIT_OTHERS = auto()
    DELETE_OWN = auto()
    DELETE_OTHERS = auto()
    INVITE = auto()
    KICK_MEMBER = auto()
    """Also: take an invitation back."""
    KICK_MODERATOR = auto()
    """Or another owner."""
    SET_ROLE = auto()
    UPDATE = auto()
    DELETE_ROOM = auto()


_ALL: tuple[Role, ...] = ("owner", "moderator", "member")
_MODERATORS: tuple[Role, ...] = ("owner", "moderator")
_OWNERS: tuple[Role, ...] = ("owner",)

ROLES: Mapping[Action, tuple[Role, ...]] = {
    Action.READ: _ALL,
    Action.SEND: _ALL,
    Action.EDIT_OWN: _ALL,
    Action.EDIT_OTHERS: (),
    Action.DELETE_OWN: _ALL,
    Action.DELETE_OTHERS: _MODERATORS,
    Action.INVITE: _MODERATORS,
    Action.KICK_MEMBER: _MODERATORS,
    Action.KICK_MODERATOR: _OWNERS,
    Action.SET_ROLE: _OWNERS,
    Action.UPDATE: _OWNERS,
    Action.DELETE_ROOM: _OWNERS,
}
"""The roles that may do each. The owners of a room leave it as any member does: then another becomes its owner."""

NOT_IN_DIRECT = frozenset(
    {
        *(Action.INVITE, Action.KICK_MEMBER, Action.KICK_MODERATOR),
        *(Action.SET_ROLE, Action.UPDATE, Action.DELETE_ROOM),
    }
)
"""The actions that no user may do in a direct room."""


def may(role: Role | None, action: Action) -> bool:
    """Return whether a role allows an action. Users that are no members have the role None, and may do nothing."""
    return role in ROLES[action]


def as_member(name: str, room: RoomRow | None, role: Role | None) -> tuple[RoomRow, Role]:
    """Return the room of this name and a member's role in it. For other users, raise `NotAMember` or `NotFound`.

    A private room does not exist for users outside it.
    """
    if room is None or (room.private and role is None):
        raise NotFound(f"there is no room `{name}`")
    if role is None:
        raise NotAMember(name)
    return room, role


def check(room: RoomRow, action: Action) -> None:
    """Raise `Forbidden` unless the role that the user has in the room allows the action."""
    if action in NOT_IN_DIRECT:
        check_not_direct(room)
    if not may(room.role, action):
        raise Forbidden(f"this needs the role {_worded(ROLES[action])} in the room, and yours is `{room.role}`")


def check_not_direct(room: RoomRow) -> None:
    """Raise `Forbidden` for a direct room. Also a service changes neither its members nor the room."""
    if room.direct:
        raise Forbidden("a direct room belongs to its two users as it is")


def check_owner_left(room: RoomRow, owners: int) -> None:
    """Raise `Conflict` if the only owner of a room would become one of its members. A kept room needs no owner."""
    if owners == 1 and not room.kept:
        raise Conflict("a room needs an owner; make another one first")


def kick_of(role: Role | None) -> Action:
    """Return the action of kicking a user with this role, which is None for an invited one."""
    return Action.KICK_MODERATOR if may(role, Action.KICK_MEMBER) else Action.KICK_MEMBER


def check_edit(role: Role | None, *, own: bool) -> None:
    """Raise `Forbidden` unless a role allows to edit a message, the user's own or another."""
    if not may(role, Action.EDIT_OWN if own else Action.EDIT_OTHERS):
        raise Forbidden("only its author may edit a message")


def check_append(role: Role | None, *, own: bool) -> None:
    """Raise `Forbidden` unless a role allows to add text to a message, the user's own or another."""
    if not may(role, Action.EDIT_OWN if own else Action.EDIT_OTHERS):
        raise Forbidden("only its author may add text to a message")


def check_delete(role: Role | None, *, own: bool) -> None:
    """Raise `Forbidden` unless a role allows to delete a message, the user's own or another."""
    if not may(role, Action.DELETE_OWN if own else Action.DELETE_OTHERS):
        raise Forbidden("only its author, a moderator or an owner may delete a message")


def check_name(name: str) -> None:
    """Raise `Forbidden` for a name that users may not give to a room."""
    if name.startswith(DIRECT):
        raise Forbidden(f"names that begin with `{DIRECT}` are for direct rooms; send `direct.open`")


def _worded(roles: tuple[Role, ...]) -> str:
    return " or ".join(f"`{role}`" for role in roles)
