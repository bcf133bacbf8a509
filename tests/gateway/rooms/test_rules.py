"""What each role may do in a room: the table, without a server."""

from dataclasses import replace

import pytest

from gateway.rooms import rules
from gateway.rooms.rules import Action
from gateway.store.rooms import RoomRow
from handlers.errors import Forbidden, NotAMember, NotFound
from schemas.messages.rooms import Role

ROOM = RoomRow(
    id=1,
    name="lobby",
    title=None,
    private=False,
    direct=False,
    epoch="e",
    offset=0,
    pruned=0,
    created_at=0,
    arrivals=1,
    departures=0,
)

EVERY_ROLE: tuple[Role, ...] = ("owner", "moderator", "member")


def allowed(room: RoomRow, action: Action) -> bool:
    try:
        rules.check(room, action)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("action", "roles"),
    [
        (Action.READ, EVERY_ROLE),
        (Action.SEND, EVERY_ROLE),
        (Action.EDIT_OWN, EVERY_ROLE),
        (Action.EDIT_OTHERS, ()),
        (Action.DELETE_OWN, EVERY_ROLE),
        (Action.DELETE_OTHERS, ("owner", "moderator")),
        (Action.INVITE, ("owner", "moderator")),
        (Action.KICK_MEMBER, ("owner", "moderator")),
        (Action.KICK_MODERATOR, ("owner",)),
        (Action.SET_ROLE, ("owner",)),
        (Action.UPDATE, ("owner",)),
        (Action.DELETE_ROOM, ("owner",)),
    ],
)
def test_each_action_is_for_the_roles_of_the_protocol(action: Action, roles: tuple[Role, ...]) -> None:
    assert tuple(role for role in EVERY_ROLE if allowed(replace(ROOM, role=role), action)) == roles
    assert not allowed(ROOM, action)


def test_every_action_is_in_the_table() -> None:
    assert set(rules.ROLES) == set(Action)


def test_a_direct_room_has_no_user_that_manages_it() -> None:
    direct = replace(ROOM, direct=True, role="owner")
    assert {action for action in Action if allowed(direct, action)} == {
        *(Action.READ, Action.SEND),
        *(Action.EDIT_OWN, Action.DELETE_OWN, Action.DELETE_OTHERS),
    }


def test_a_kick_depends_on_the_role_of_its_target() -> None:
    assert [rules.kick_of(role) for role in (None, "member", "moderator", "owner")] == [
        *(Action.KICK_MEMBER, Action.KICK_MEMBER),
        *(Action.KICK_MODERATOR, Action.KICK_MODERATOR),
    ]


def test_a_private_room_does_not_exist_for_users_outside_it() -> None:
    with pytest.raises(NotFound):
        rules.as_member("lobby", None, None)
    with pytest.raises(NotFound):
        rules.as_member("lobby", replace(ROOM, private=True, invited=True), None)
    with pytest.raises(NotAMember):
        rules.as_member("lobby", ROOM, None)
    assert rules.as_member("lobby", ROOM, "member") == (ROOM, "member")


def test_the_names_of_direct_rooms_are_not_for_users() -> None:
    with pytest.raises(Forbidden):
        rules.check_name("dm-1")
    rules.check_name("dmz")
