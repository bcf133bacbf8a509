"""Groups of users: their rights by room, and their members."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from gateway.core.batches import batches
from gateway.store.tables import group_members, groups, users

BATCH = 500
"""Users in one statement."""


@dataclass(frozen=True)
class GroupRow:
    """A group as stored, with the number of its members."""

    name: str
    room_rights: str
    members: int


def lock_all(connection: Connection) -> dict[str, str]:
    """Lock all groups until the end of the transaction, and return their rights by their names."""
    # In a fixed order, so that two commands never wait for each other.
    query = select(groups.c.name, groups.c.room_rights).order_by(groups.c.name).with_for_update()
    return {row.name: row.room_rights for row in connection.execute(query)}


def rights_of_kept(connection: Connection, name: str) -> str | None:
    """Return the rights of a group, which stay until the end of the transaction, or None without the group."""
    query = select(groups.c.room_rights).where(groups.c.name == name).with_for_update(read=True)
    return connection.execute(query).scalar_one_or_none()


def list_all(connection: Connection) -> list[GroupRow]:
    """List all groups by name."""
    count = func.count(group_members.c.user_id)
    query = (
        select(groups.c.name, groups.c.room_rights, count)
        .outerjoin(group_members, group_members.c.group_name == groups.c.name)
        .group_by(groups.c.name, groups.c.room_rights)
        .order_by(groups.c.name)
    )
    return [GroupRow(*row) for row in connection.execute(query)]


def add(connection: Connection, name: str, room_rights: str) -> None:
    """Add a group."""
    connection.execute(insert(groups).values(name=name, room_rights=room_rights))


def change(connection: Connection, name: str, room_rights: str) -> None:
    """Set the rights of a group, without those of its members."""
    connection.execute(update(groups).where(groups.c.name == name).values(room_rights=room_rights))


def note_change(connection: Connection, names: Sequence[str]) -> None:
    """Let running nodes notice that groups, or their members, have changed. All groups are locked."""
    connection.execute(update(groups).where(groups.c.name.in_(names)).values(version=version(connection) + 1))


def version(connection: Connection) -> int:
    """Return a number that grows with each change of a group or of its members; 0 without a group."""
    return connection.execute(select(func.max(groups.c.version))).scalar_one() or 0


def rights_of_users(connection: Connection, user_ids: Sequence[str]) -> dict[str, str]:
    """Return what groups allow some users, by their ids. Users without a group are left out."""
    query = select(users.c.id, users.c.room_rights).where(users.c.id.in_(user_ids), users.c.room_rights.is_not(None))
    return {row.id: row.room_rights for row in connection.execute(query)}


def remove(connection: Connection, name: str) -> None:
    """Remove a group without members."""
    connection.execute(delete(groups).where(groups.c.name == name))


def count_members(connection: Connection, name: str) -> int:
    """Return how many members a group has."""
    query = select(func.count()).where(group_members.c.group_name == name)
    return connection.execute(query).scalar_one()


def members_of_several(connection: Connection, name: str) -> list[str]:
    """Return the ids of a group's members that are in other groups too."""
    query = select(group_members.c.user_id).where(group_members.c.group_name == name, _is_in_others())
    return list(connection.execute(query.order_by(group_members.c.user_id)).scalars())


def set_rights_of_others(connection: Connection, name: str, room_rights: str) -> None:
    """Store what a group allows for its members that are in no other group."""
    # In one statement, since a group may have most of all users.
    alone = select(group_members.c.user_id).where(group_members.c.group_name == name, ~_is_in_others())
    connection.execute(update(users).where(users.c.id.in_(alone)).values(room_rights=room_rights))


def _is_in_others() -> ColumnElement[bool]:
    other = group_members.alias()
    same = (other.c.user_id == group_members.c.user_id) & (other.c.group_name != group_members.c.group_name)
    return exists().where(same).correlate(group_members)


def groups_of(connection: Connection, user_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the groups of users, by their ids. Users without a group are left out."""
    found: dict[str, list[str]] = {}
    for some in batches(user_ids, BATCH):
        query = select(group_members.c.user_id, group_members.c.group_name).where(group_members.c.user_id.in_(some))
        for user_id, name in connection.execute(query.order_by(group_members.c.group_name)):
            found.setdefault(user_id, []).append(name)
    return found


def add_member(connection: Connection, name: str, user_id: str) -> None:
    """Put a user into a group that it is not in."""
    connection.execute(insert(group_members).values(group_name=name, user_id=user_id))


def add_members(connection: Connection, name: str, user_ids: Sequence[str]) -> None:
    """Put users into a group that none of them is in."""
    connection.execute(insert(group_members), [{"group_name": name, "user_id": user_id} for user_id in user_ids])


def remove_member(connection: Connection, name: str, user_id: str) -> None:
    """Take a user out of a group."""
    mine = (group_members.c.group_name == name) & (group_members.c.user_id == user_id)
    connection.execute(delete(group_members).where(mine))


def set_user_rights(connection: Connection, user_ids: Iterable[str], room_rights: str | None) -> None:
    """Store what the groups of users allow together; None for users without a group."""
    for some in batches(user_ids, BATCH):
        connection.execute(update(users).where(users.c.id.in_(some)).values(room_rights=room_rights))
