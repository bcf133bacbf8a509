"""`gateway groups`, and the groups of users: by the commands, as the gateway that runs beside them sees it."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path

import bcrypt
import pytest

from tests.gateway.cli.command import PASSWORD, Result, Served
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


async def test_an_operator_limits_a_user_to_the_rooms_of_a_group(
    served: Served, app: App, alice: str, room: str, run_here: RunHere
) -> None:
    def gateway(*arguments: str) -> Awaitable[Result]:
        return asyncio.to_thread(run_here, served.folder, *arguments, COLUMNS="200")

    group = f"team-{room}"
    await app.token(alice)
    made = await gateway("groups", "set", group, f"{room}-*=create,join,send", f"{room}=join")
    assert made == Result(0, f"{group} allows {room}=join {room}-*=create,join,send, and has 0 members\n", "")
    assert (await gateway("users", "grant", alice, "--group", group)).out == f"{alice} is in the groups: {group}\n"
    assert group in (await gateway("users", "list")).out
    async with app.connect(alice) as client:
        await client.ask("room.join", room=f"{room}-1")
        assert (await client.refused("room.join", room=f"other-{room}"))["status"] == 40300
    assert (await gateway("groups", "set", group)).out == f"{group} allows no room, and has 1 members\n"
    async with app.connect(alice) as client:
        assert (await client.refused("room.join", room=f"{room}-1"))["status"] == 40300
    kept = await gateway("groups", "remove", group)
    assert kept.problem == f"the group {group} has 1 members; take them out with: gateway users revoke USER --group"
    free = await gateway("users", "revoke", alice, "--group", group)
    assert free.out == f"{alice} is in no group, so that no group limits it to certain rooms\n"
    assert (await gateway("groups", "remove", group)).out == f"removed {group}\n"
    async with app.connect(alice) as client:
        await client.ask("room.join", room=f"other-{room}")

    lines = (served.folder / "data" / "audit.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    of_group = [entry["event"] for entry in entries if entry.get("group") == group]
    assert of_group == ["group_set", "group_set", "group_removed"]
    granted, revoked = (entry for entry in entries if "groups" in entry and entry["user"] == alice)
    assert (granted["event"], granted["user"], granted["groups"]) == ("groups_granted", alice, group)
    assert (revoked["event"], revoked["user"], revoked["groups"]) == ("groups_revoked", alice, "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("groups set Team", "GROUP: expected 1 to 64 of a-z 0-9 - _ . with a letter or digit first"),
        ("groups set team a", "expected PATTERN=RIGHTS such as 'team-*=join,send', got 'a'"),
        ("groups set team a=join a=send", "expected each pattern once, got 'a' twice"),
        ("groups set team a=jump", "expected only `join`, `send`, `create` as rights"),
        ("groups set team a=join,", "expected only `join`, `send`, `create` as rights"),
        ("groups set team **=join", "write one star instead of two in '**'; it stands for any run of characters"),
        ("groups set team =join", "expected a pattern of 1 to 64 characters, got 0"),
        (
            f"groups set team {' '.join(f'r{number}=join' for number in range(65))}",
            "expected at most 64 patterns, got 65",
        ),
        ("groups remove team", "there is no group team; see: gateway groups list"),
        ("users grant alice --group team", "there is no group team; see: gateway groups list"),
        ("users revoke alice --group team", "there is no group team; see: gateway groups list"),
        ("users grant carol --group team", "there is no user carol; see: gateway users list"),
        ("users grant alice", "expected a SCOPE or --group GROUP"),
        ("users revoke alice", "expected a SCOPE or --group GROUP"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    tmp_path: Path, run_here: RunHere, arguments: str, problem: str
) -> None:
    assert run_here(tmp_path, "users", "add", "alice", typed=PASSWORD).status == 0
    assert run_here(tmp_path, *arguments.split()).problem == problem
    listing = run_here(tmp_path, "groups", "list")
    assert listing.status == 0
    assert "team" not in listing.out


def test_added_and_imported_users_begin_in_the_default_group(tmp_path: Path, run_here: RunHere) -> None:
    setting = {"GATEWAY_DEFAULT_GROUP": "team"}
    imported = f"username,password_hash\nbob,{HASH}\ncarol,{HASH}\n"
    commands = [(["users", "add", "alice"], PASSWORD), (["users", "import", "-"], imported)]
    problem = "there is no group team, which GATEWAY_DEFAULT_GROUP names; add it with: gateway groups set"
    for command, typed in commands:
        assert run_here(tmp_path, *command, typed=typed, **setting).problem == problem
    assert run_here(tmp_path, "groups", "set", "team", "a=join").status == 0
    for command, typed in commands:
        assert run_here(tmp_path, *command, typed=typed, **setting).status == 0
    assert run_here(tmp_path, "groups", "set", "team").out == "team allows no room, and has 3 members\n"
    wrong = run_here(tmp_path, "users", "add", "dave", typed=PASSWORD, GATEWAY_DEFAULT_GROUP="Team!")
    assert "GATEWAY_DEFAULT_GROUP" in wrong.problem
