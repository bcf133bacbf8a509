"""The quotas of rooms and invitations, of a user and of a room.

The transaction that adds one also counts them, with its users locked, so that no other can come in between. A count
stops at the quota.
"""

from sqlalchemy import Connection

from gateway.config.settings import Settings
from gateway.rooms.membership_changes import RoomQuotas
from gateway.store import invitations, rooms, users
from gateway.store.rooms import DIRECT
from gateway.store.users import UserRow
from handlers.errors import QuotaExceeded


def check_joining(connection: Connection, settings: Settings, user_id: str) -> None:
    """Raise `QuotaExceeded` if the acting user may join no further room."""
    users.lock(connection, user_id)
    if limit := settings.max_rooms_joined:
        RoomQuotas(joined=limit).check_joined(rooms.count_of_user(connection, user_id, limit))


def check_owner(connection: Connection, settings: Settings, user: UserRow) -> None:
    """Raise `QuotaExceeded` if another user may own no further room."""
    users.lock(connection, user.id)
    if _owns_all(connection, settings, user.id):
        raise QuotaExceeded(f"`{user.name}` owns {settings.max_rooms_owned} rooms, the most that one user may own")


def check_inviting(connection: Connection, settings: Settings, room_id: int, inviter_id: str, user: UserRow) -> None:
    """Raise `QuotaExceeded` if too many invitations wait: in the room, from the inviter or for the user."""
    users.lock(connection, inviter_id, user.id)
    limit = settings.max_invitations_per_room
    if limit and invitations.count_in_room(connection, room_id, limit) == limit:
        oldest = _worded(invitations.oldest_in_room(connection, room_id))
        raise QuotaExceeded(
            f"{limit} invitations to this room wait, the most that may; take one back, such as {oldest}"
        )
    limit = settings.max_invitations_per_inviter
    if limit and invitations.count_by_inviter(connection, inviter_id, limit) == limit:
        oldest = _worded(invitations.oldest_by_inviter(connection, inviter_id))
        raise QuotaExceeded(
            f"{limit} of your invitations wait, the most that one user may have sent; take one back, such as {oldest}"
        )
    limit = settings.max_invitations_per_user
    if limit and invitations.count_of_user(connection, user.id, limit) == limit:
        raise QuotaExceeded(f"{limit} invitations wait for `{user.name}`, the most that may wait for one user")


def _worded(invitation: tuple[str, str] | None) -> str:
    """Return the text about the invitation to take back. A direct room has no kicks, so the user leaves it."""
    user, room = invitation or ("", "")
    how = "`room.leave`" if room.startswith(DIRECT) else "`room.kick`"
    return f"that of `{user}` to `{room}` with {how}"


def _owns_all(connection: Connection, settings: Settings, user_id: str) -> bool:
    limit = settings.max_rooms_owned
    return limit > 0 and rooms.count_owned(connection, user_id, limit) == limit
