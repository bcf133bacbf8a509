"""Changes of groups and of their members. A user has the rights of all its groups together, or none without a group.

The store keeps the sum with each user, so that a connection costs the same with groups as without. Each change locks
all groups: of two at the same time, the second one sees the first.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from gateway.auth.room_rights import MAX_PATTERNS, MAX_ROOMS_LENGTH, RoomRights, rights_of, united
from gateway.store import groups
from handlers.errors import Conflict, NotFound, QuotaExceeded


def set_rights(connection: Connection, name: str, rights: RoomRights) -> int:
    """Set the rights of a group, which is added if it is new. Return how many members it has.

    Raises `QuotaExceeded` if a user would have more rights than a token can hold.
    """
    _checked([name], [rights])
    if name in groups.lock_all(connection):
        groups.change(connection, name, rights.text)
    else:
        groups.add(connection, name, rights.text)
    groups.note_change(connection, [name])
    groups.set_rights_of_others(connection, name, rights.text)
    _sum_up(connection, groups.members_of_several(connection, name))
    return groups.count_members(connection, name)


def remove(connection: Connection, name: str) -> None:
    """Remove a group, or raise `NotFound`, or `Conflict` while it has members."""
    _check_known(name, groups.lock_all(connection))
    if members := groups.count_members(connection, name):
        # A user of no other group would have no restriction any more.
        raise Conflict(f"the group {name} has {members} members; take them out with: gateway users revoke USER --group")
    groups.remove(connection, name)


def join(connection: Connection, user_id: str, names: Sequence[str]) -> list[str]:
    """Put a user into groups, and return the names of all its groups.

    Raises `NotFound`, and `QuotaExceeded` if the user would have more rights than a token can hold.
    """
    known = groups.lock_all(connection)
    had = groups.groups_of(connection, [user_id]).get(user_id, [])
    for name in dict.fromkeys(names):
        _check_known(name, known)
        if name not in had:
            groups.add_member(connection, name, user_id)
    groups.note_change(connection, names)
    return _sum_up(connection, [user_id])


def put_new(connection: Connection, user_ids: Sequence[str], name: str) -> None:
    """Put users that have just been added into their first group, or raise `NotFound`.

    Unlike `join`, this locks out no other addition. No node needs to notice it, since none knows these users.
    """
    rights = groups.rights_of_kept(connection, name)
    if rights is None:
        raise NotFound(f"there is no group {name}, which GATEWAY_DEFAULT_GROUP names; add it with: gateway groups set")
    groups.add_members(connection, name, user_ids)
    groups.set_user_rights(connection, user_ids, rights)


def leave(connection: Connection, user_id: str, names: Sequence[str]) -> list[str]:
    """Take a user out of groups, and return the names of those that it is still in, or raise `NotFound`."""
    known = groups.lock_all(connection)
    for name in names:
        _check_known(name, known)
        groups.remove_member(connection, name, user_id)
    groups.note_change(connection, names)
    return _sum_up(connection, [user_id])


def _check_known(name: str, known: Collection[str]) -> None:
    if name not in known:
        raise NotFound(f"there is no group {name}; see: gateway groups list")


def _sum_up(connection: Connection, user_ids: Sequence[str]) -> list[str]:
    """Store what the groups of users allow together. Return the groups of the last user."""
    rights = {row.name: rights_of(row.room_rights) for row in groups.list_all(connection)}
    of_users = groups.groups_of(connection, user_ids)
    alike: dict[tuple[str, ...], list[str]] = {}
    for user_id in user_ids:
        alike.setdefault(tuple(of_users.get(user_id, ())), []).append(user_id)
    for names, some in alike.items():
        together = _checked(names, [found for name in names if (found := rights[name]) is not None])
        groups.set_user_rights(connection, some, None if not names else together.text)
    return of_users.get(user_ids[-1], []) if user_ids else []


def _checked(names: Sequence[str], all_rights: Sequence[RoomRights]) -> RoomRights:
    """Return what groups allow together, or raise `QuotaExceeded` if no token could hold it."""
    together = united(all_rights)
    if (count := len(together.claim)) > MAX_PATTERNS:
        raise QuotaExceeded(
            f"the rights of {' and '.join(names)}: expected at most {MAX_PATTERNS} patterns, got {count}"
        )
    if (length := len(together.text)) > MAX_ROOMS_LENGTH:
        raise QuotaExceeded(
            f"the rights of {' and '.join(names)}: expected at most {MAX_ROOMS_LENGTH} characters, got {length}"
        )
    return together
