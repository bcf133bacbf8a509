"""`gateway users`: the operator manages users, whether the gateway runs or not."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path

import pytest

from tests.gateway.cli.command import PASSWORD, Result, Served, Terminal, run
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App

pytestmark = pytest.mark.server

OTHER_PASSWORD = "another battery staple"


async def test_a_disabled_user_is_locked_out_until_enabled_again(
    served: Served, app: App, alice: str, run_here: RunHere
) -> None:
    def gateway(*arguments: str, typed: str = "") -> Awaitable[Result]:
        # In a thread: the command runs a loop of its own.
        return asyncio.to_thread(run_here, served.folder, *arguments, typed=typed)

    options = ("--full-name", "Alice A.", "--scope", "admin")
    typed = f" {alice.capitalize()} "
    added = await asyncio.to_thread(run, served.folder, "users", "add", typed, *options, typed=f"{PASSWORD}\n")
    assert added == Result(0, f"added {alice}\n", "")
    token = (await app.log_in(alice)).json()["access_token"]

    async with app.connect_with(token) as live:
        assert await gateway("users", "disable", alice) == Result(0, f"{alice} is disabled\n", "")
        await live.expect_revoked()
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", name="token_revoked")
        await client.expect("bye", code=1008)
    assert (await app.log_in(alice)).status_code == 401
    assert (await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert _row(await gateway("users", "list"), alice).endswith("disabled")
    assert "enabled" in (await gateway("token", alice)).problem

    assert await gateway("users", "enable", alice) == Result(0, f"{alice} is enabled\n", "")
    async with app.socket(f"?token={token}") as client:
        await client.expect("error", name="token_revoked")  # what was taken back is not given again
    async with app.connect(alice) as live:
        changed = await gateway("users", "passwd", alice, typed=f"{OTHER_PASSWORD}\r\n")
        assert changed == Result(0, f"the password of {alice} is set\n", "")
        await live.expect_revoked()
    assert (await app.log_in(alice)).status_code == 401
    assert (await app.log_in(alice, OTHER_PASSWORD)).status_code == 200

    log = (served.folder / "data/audit.log").read_text()
    entries = [json.loads(line) for line in log.splitlines()]
    acts = [entry["event"] for entry in entries if entry.get("user") == alice and entry["address"] == "command"]
    assert acts == ["user_added", "user_disabled", "user_enabled", "password_set"]
    assert PASSWORD not in log
    assert OTHER_PASSWORD not in log


@pytest.mark.parametrize(
    ("arguments", "typed", "problem"),
    [
        ("add alice", PASSWORD, "the user name `alice` is taken; choose another"),
        ("add Bob!", PASSWORD, "USER: expected 3 to 32 of a-z 0-9 - _ . with a letter or digit first"),
        ("add bo", PASSWORD, "USER: expected 3 to 32 of a-z 0-9 - _ . with a letter or digit first"),
        ("add bob", "seven-7\n", "password: expected 8 to 1024 bytes of UTF-8, got 7"),
        ("add bob", "é" * 512 + "x", "password: expected 8 to 1024 bytes of UTF-8, got 1025"),
        ("add bob", "nul\0nul\0nul\n", "password: expected no NUL character"),
        (
            "add bob",
            "password123\n",
            "password: expected a password that is not among the most common ones;"
            " a few words that do not belong together do",
        ),
        ("passwd alice", "ecilA\n" * 2, "password: expected 8 to 1024 bytes of UTF-8, got 5"),
        ("add bob", "", "password: expected 8 to 1024 bytes of UTF-8, got 0"),
        ("passwd carol", PASSWORD, "there is no user carol; see: gateway users list"),
        ("passwd alice", "short", "password: expected 8 to 1024 bytes of UTF-8, got 5"),
        ("grant carol admin", "", "there is no user carol; see: gateway users list"),
        ("revoke carol admin", "", "there is no user carol; see: gateway users list"),
        ('grant alice a"b', "", 'SCOPE: expected 1 to 64 visible ASCII characters but no " and no \\'),
        ("add bob --scope é", PASSWORD, 'SCOPE: expected 1 to 64 visible ASCII characters but no " and no \\'),
        (
            f"grant alice {' '.join(f'{number:064}' for number in range(16))}",
            "",
            "SCOPE: expected at most 1024 characters for all of a user's, got 1073",
        ),
        ("disable carol", "", "there is no user carol; see: gateway users list"),
        ("enable carol", "", "there is no user carol; see: gateway users list"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    tmp_path: Path, run_here: RunHere, arguments: str, typed: str, problem: str
) -> None:
    assert run_here(tmp_path, "users", "add", "alice", typed=PASSWORD).status == 0
    assert run_here(tmp_path, "users", *arguments.split(), typed=typed).problem == problem
    listing = run_here(tmp_path, "users", "list")
    assert _row(listing, "alice").endswith("active")
    assert "bob" not in listing.out


def test_a_full_name_is_no_markup_of_the_table(tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "users", "add", "alice", "--full-name", "[/] [red]", typed=PASSWORD).status == 0
    assert "[/] [red]" in _row(run_here(tmp_path, "users", "list"), "alice")


def test_a_person_is_asked_for_the_password_twice_and_does_not_see_it(tmp_path: Path) -> None:
    with Terminal(tmp_path, "users", "add", "alice") as terminal:
        terminal.expect("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.expect("confirmation: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.expect("added alice")
        assert terminal.end() == 0
        assert PASSWORD not in terminal.raw


async def test_scopes_are_granted_and_revoked_and_the_next_token_has_them(
    served: Served, app: App, alice: str, run_here: RunHere
) -> None:
    def gateway(*arguments: str) -> Awaitable[Result]:
        return asyncio.to_thread(run_here, served.folder, "users", *arguments)

    token = await app.token(alice)
    granted = await gateway("grant", alice, "admin", "chat:read", "dice:roll")
    assert granted.out == f"{alice} may now: admin chat:read chat:write dice:roll rooms:manage\n"
    assert granted.err == "note: no built-in message needs dice:roll; a handler of yours may\n"
    assert "gateway services add" in (await gateway("grant", alice, "server")).err
    await gateway("revoke", alice, "server")
    assert (await app.log_in(alice, scope="admin")).json()["scope"] == "admin"
    async with app.socket(f"?token={token}") as client:
        await client.expect("welcome", scopes=["chat:read", "chat:write", "rooms:manage"])  # of the token, and no more

    revoked = await gateway("revoke", alice, "admin", "chat:write", "never-had")
    assert revoked == Result(0, f"{alice} may now: chat:read dice:roll rooms:manage\n", "")
    async with app.socket(f"?token={token}") as client:
        await client.expect("welcome", scopes=["chat:read", "rooms:manage"])
    refused = await app.log_in(alice, scope="admin")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


def _row(listing: Result, name: str) -> str:
    assert (listing.status, listing.err) == (0, "")
    (row,) = (line for line in listing.out.splitlines() if name in line)
    return row.strip("│ ")
