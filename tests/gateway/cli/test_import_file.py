"""`gateway users import`: users from another system, with the hashes of their passwords."""

import asyncio
import json
from pathlib import Path

import bcrypt
import pytest

from tests.gateway.cli.command import Result, Served
from tests.gateway.cli.conftest import RunHere
from tests.support.client import PASSWORD, App

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
HEADER = "username,password_hash,full_name,email,scopes,disabled\n"


def prefixed(prefix: str, password: str = PASSWORD) -> str:
    return f"${prefix}{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()[3:]}"


async def test_users_log_in_with_the_passwords_that_they_had_elsewhere(
    served: Served, app: App, alice: str, bob: str, run_here: RunHere
) -> None:
    lines = [
        json.dumps({"username": f"{alice}-{prefix}", "password_hash": prefixed(prefix)})
        for prefix in ("2a", "2b", "2y")
    ]
    lines.append(json.dumps({"username": bob, "password_hash": prefixed("2b", "short"), "scopes": "chat:read admin"}))
    lines.append(json.dumps({"username": f"{bob}-off", "password_hash": HASH, "disabled": True}))
    typed = "\n".join(lines)
    done = await asyncio.to_thread(run_here, served.folder, "users", "import", "-", typed=typed)
    assert done == Result(0, "added 5 users\n", "")
    for prefix in ("2a", "2b", "2y"):
        for _ in range(2):  # the second time, with the new hash
            answer = (await app.log_in(f"{alice}-{prefix}")).json()
            assert answer["scope"] == "chat:read chat:write rooms:manage"
    assert (await app.log_in(bob, "short")).json()["scope"] == "admin chat:read"
    assert (await app.log_in(bob, "shorT")).status_code == 401
    assert (await app.log_in(f"{bob}-off")).status_code == 401


def test_a_csv_file_may_leave_cells_and_columns_out(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "users.csv").write_text(
        "\ufeffemail,username,password_hash,full_name\r\n"
        f'alice@example.com,alice,{HASH},"Alice, the first"\r\n'
        f",bob,{HASH},\r\n",
        encoding="utf-8",
    )
    assert run_here(tmp_path, "users", "import", "users.csv") == Result(0, "added 2 users\n", "")
    listed = run_here(tmp_path, "users", "list", COLUMNS="200").out
    assert "Alice, the first" in listed
    assert "bob" in listed


WRONG = {
    "no bcrypt": (
        f"{HEADER}alice,5f4dcc3b5aa765d61d8327deb882cf99,,,,",
        2,
        "password_hash: expected a bcrypt hash: $2a$",
    ),
    "a password in the place of the hash": (
        f"{HEADER}alice,{PASSWORD},,,,",
        2,
        "password_hash: expected a bcrypt hash",
    ),
    "another kind of bcrypt": (f"{HEADER}alice,{prefixed('2x')},,,,", 2, "password_hash: expected a bcrypt hash"),
    "a hash that takes hours": (
        f"{HEADER}alice,$2b$31{HASH[6:]},,,,",
        2,
        "4 to 4 rounds (GATEWAY_PASSWORD_ROUNDS), got 31",
    ),
    "a hash that costs more than ours": (f"{HEADER}alice,$2b$05{HASH[6:]},,,,", 2, "4 to 4 rounds"),
    "a hash that is cut": (f"{HEADER}alice,{HASH[:-1]},,,,", 2, "password_hash: expected a bcrypt hash"),
    "no hash": (f"{HEADER}alice,,,,,", 2, "password_hash: is missing"),
    "a name that cannot be": (f"{HEADER}Al!ce,{HASH},,,,", 2, "username: expected 3 to 32 of a-z"),
    "a name twice": (f"{HEADER}alice,{HASH},,,,\nalice,{HASH},,,,", 3, "`alice` is on line 2 already"),
    "a wrong address": (f"{HEADER}alice,{HASH},,nowhere,,", 2, "email: "),
    "a wrong scope": (f'{HEADER}alice,{HASH},,,"a\\b",', 2, "scopes: expected 1 to 64"),
    "neither true nor false": (f"{HEADER}alice,{HASH},,,,perhaps", 2, "disabled: "),
    "too many cells": (f"{HEADER}alice,{HASH},,,,,,more", 2, "too many cells: is not expected"),
    "an unknown field": (f'{{"username":"alice","password_hash":"{HASH}","role":1}}', 1, "role: is not expected"),
    "no JSON": (f'{{"username":"alice","password_hash":"{HASH}"}}\n\nnot JSON', 3, "expected one JSON object"),
    "an array": ("[1]", 1, "expected one JSON object"),
    "a name that is a number": (f'{{"username":7,"password_hash":"{HASH}"}}', 1, "username: "),
}


@pytest.mark.parametrize(("text", "line", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_named_and_nothing_is_imported(
    tmp_path: Path, run_here: RunHere, text: str, line: int, problem: str
) -> None:
    (tmp_path / "users").write_text(text)
    done = run_here(tmp_path, "users", "import", "users")
    assert (done.status, done.out) == (1, "")
    told, end = done.err.splitlines()
    assert told.startswith(f"gateway: line {line}: ")
    assert problem in told
    assert end == "gateway: nothing was imported"
    for secret in (PASSWORD, HASH, "5f4dcc3b5aa765d61d8327deb882cf99"):
        assert secret not in done.err
    assert "alice" not in run_here(tmp_path, "users", "list").out


@pytest.mark.parametrize(
    "text",
    [
        f"alice,{HASH}\nbob,{HASH}\n",
        f"username,password_hash,pasword\nalice,{HASH},x\n",
        f"username,password_hash,username\nalice,{HASH},bob\n",
        f"username;password_hash\nalice;{HASH}\n",
    ],
    ids=["none", "an unknown one", "one twice", "semicolons"],
)
def test_wrong_column_names_are_told_with_the_right_ones(tmp_path: Path, run_here: RunHere, text: str) -> None:
    done = run_here(tmp_path, "users", "import", "-", typed=text)
    assert done.problem == (
        "line 1: expected username, password_hash, full_name, email, scopes, disabled, or some of them, once each"
    )


def test_who_is_there_already_is_named_and_the_others_are_not_added_either(tmp_path: Path, run_here: RunHere) -> None:
    first = f"username,password_hash\nbob,{HASH}\n"
    assert run_here(tmp_path, "users", "import", "-", typed=first).status == 0
    both = f"username,password_hash\nalice,{HASH}\nbob,{HASH}\n"
    done = run_here(tmp_path, "users", "import", "-", typed=both)
    assert done == Result(1, "", "gateway: line 3: the user name `bob` is taken\ngateway: nothing was imported\n")
    assert "alice" not in run_here(tmp_path, "users", "list").out


def test_of_many_wrong_lines_the_first_are_named_and_the_rest_counted(tmp_path: Path, run_here: RunHere) -> None:
    done = run_here(tmp_path, "users", "import", "-", typed="username,password_hash\n" + "x,y\n" * 50)
    assert len(done.err.splitlines()) == 22
    assert "and 30 more lines are wrong" in done.err


@pytest.mark.parametrize(
    ("arguments", "typed", "problem"),
    [
        ("nowhere.csv", b"", "cannot read nowhere.csv (No such file or directory)"),
        ("-", b"", "there are no users in it"),
        ("-", b"username,password_hash\n", "there are no users in it"),
        ("-", b"username,password_hash\nal\xffice,x", "expected UTF-8, got something else at byte 25"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_line(
    tmp_path: Path, run_here: RunHere, arguments: str, typed: bytes, problem: str
) -> None:
    assert problem in run_here(tmp_path, "users", "import", arguments, typed=typed).problem
