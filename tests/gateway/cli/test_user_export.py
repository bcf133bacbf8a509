"""`gateway users export`: all that the store has about a user, and no secret."""

import asyncio
import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights
from gateway.store import outgoing_events, users
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.cli.command import environment, words
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App, Frame
from tests.support.former_store import NUMBERS, live

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def known(gateway: Gateway) -> Frame:
    """Use all that a store keeps; what the clients know."""
    return asyncio.run(_live(gateway))


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    with running_gateway(settings_for_tests(folder / "data")) as running:
        yield running


async def _live(gateway: Gateway) -> Frame:
    found = await live(gateway)
    async with App(gateway) as app:
        grant = await app.grant("alice")
        bought = await app.ask("POST", "/ws/ticket", grant["access_token"])
        await gateway.run(gateway.state.database.transact(_more))
        await gateway.run(gateway.state.database.run_script(outgoing_events.add([_EVENT])))
        return found | {"grant": grant, "ticket": bought.json()["ticket"]}


_EVENT = outgoing_events.NewEvent("archive", "user:alice", "msg_2", "user.connected", '{"user":"alice"}', 1)


def _more(connection: Connection) -> None:
    user = users.by_name(connection, "alice")
    assert user is not None
    groups.set_rights(connection, "readers", RoomRights.parse({"lobby": ["join"]}))
    groups.join(connection, user.id, ["readers"])


def lines(text: str) -> list[tuple[str, Any]]:
    return [(line["type"], line["data"]) for line in map(json.loads, text.splitlines())]


def of(found: list[tuple[str, Any]], kind: str) -> list[Any]:
    return [data for each, data in found if each == kind]


def test_an_export_has_all_that_the_store_has_about_a_user(folder: Path, known: Frame, run_here: RunHere) -> None:
    done = run_here(folder, "users", "export", "alice")
    assert (done.status, done.err) == (0, "")
    found = lines(done.out)
    assert found[0][0] == "account"
    assert found[0][1]["username"] == "alice"
    assert found[0][1]["has_password"] is True
    assert of(found, "group") == [{"name": "readers", "rooms": [{"lobby": ["join"]}]}]
    assert len(of(found, "session")) >= 3
    assert all(session["user_agent"].startswith("python-httpx2/") for session in of(found, "session"))
    assert len(of(found, "ticket")) == 1
    direct = next(name for name, view in known["rooms"].items() if view["room"]["direct"])
    rooms = {each["room"]: each for each in of(found, "membership")}
    assert {name: each["role"] for name, each in rooms.items()} == {
        direct: "member",
        "garden": "owner",
        "lobby": "owner",
    }
    assert {each["room"]: (each["user"], each["by"]) for each in of(found, "invitation")} == {
        "garden": ("bob", "alice"),
        direct: ("bob", "alice"),
    }
    assert of(found, "hook_event")[0]["data"] == {"user": "alice"}
    mine = [message for view in known["rooms"].values() for message in view["log"] if message["sender"] == "alice"]
    key = lambda message: (message["room"], message["offset"])  # noqa: E731 - only for these two
    assert sorted(of(found, "message"), key=key) == sorted(mine, key=key)
    assert found[-1] == ("end", {"messages": len(mine)})

    bobs = lines(run_here(folder, "users", "export", "bob").out)
    assert of(bobs, "left_room") == [{"room": "attic"}]
    assert {message["sender"] for message in of(bobs, "message")} == {"bob"}
    assert of(bobs, "membership")[0]["read"] == 2
    raw = run_here(folder, "users", "export", "bob").out
    assert json.dumps(NUMBERS["big"]) in raw
    assert "1.5e-9" in raw


def test_an_export_has_no_secret(folder: Path, known: Frame, run_here: RunHere, gateway: Gateway) -> None:
    text = run_here(folder, "users", "export", "alice").out
    hashes = asyncio.run(gateway.run(gateway.state.database.query(_secrets)))
    assert len(hashes) > 5
    secrets = [*hashes, known["grant"]["refresh_token"], known["grant"]["access_token"], known["ticket"]]
    assert [secret for secret in secrets if secret in text] == []


def _secrets(connection: Connection) -> list[str]:
    queries = (
        "SELECT password_hash FROM users WHERE password_hash <> ''",
        "SELECT refresh_hash FROM login_sessions WHERE refresh_hash IS NOT NULL",
        "SELECT family_hash FROM login_sessions WHERE family_hash IS NOT NULL",
        "SELECT hash FROM tickets",
    )
    return [row[0] for query in queries for row in connection.exec_driver_sql(query)]


def test_a_file_is_private_and_replaces_another_only_if_that_is_asked_for(
    folder: Path, known: Frame, run_here: RunHere, tmp_path: Path
) -> None:
    export = partial(run_here, folder, "users", "export", "alice", "-o")
    file = tmp_path / "älice ☃.jsonl"
    done = export(str(file))
    assert done.status == 0
    assert "has all that the store has about alice" in done.out.replace("\n", "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert lines(file.read_text())[-1][0] == "end"
    file.write_text("precious")
    assert export(str(file)).problem == f"{file} exists already; name another file, or add --replace"
    assert file.read_text() == "precious"
    assert export(str(file), "--replace").status == 0
    assert lines(file.read_text())[-1][0] == "end"
    assert export(str(tmp_path)).problem == f"{tmp_path} is no file; name another one"
    assert "no folder" in export(str(tmp_path / "no" / "such" / "file")).problem
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_file_system_without_links_takes_an_export_too(
    folder: Path, known: Frame, run_here: RunHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "alice.jsonl"
    assert run_here(folder, "users", "export", "alice", "-o", str(file)).status == 0
    assert of(lines(file.read_text()), "end")
    assert run_here(folder, "users", "export", "alice", "-o", str(file)).problem.endswith("or add --replace")
    assert os.listdir(tmp_path) == ["alice.jsonl"]


@pytest.mark.parametrize("name", ["nobody-here", "ålice", "deleted-0123456789abcdef", "service:orders"])
def test_an_unknown_user_has_no_file(folder: Path, name: str, run_here: RunHere, tmp_path: Path) -> None:
    refused = run_here(folder, "users", "export", name, "-o", str(tmp_path / "out"))
    assert refused.status == 1
    assert "USER: this is a service" in refused.err if ":" in name else "there is no user" in refused.problem
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_one_line_and_leaves_no_half_file(
    folder: Path, known: Frame, tmp_path: Path, run_here: RunHere
) -> None:
    """A file may be no longer than 2 KiB here, as if the disk had no room for more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = tmp_path / "out.jsonl"
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        refused = run_here(folder, "users", "export", "alice", "-o", str(file), GATEWAY_AUDIT_LOG="off")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.problem == f"cannot write {file}: File too large"
    assert list(tmp_path.iterdir()) == []


def test_standard_output_that_takes_no_more_ends_the_command_in_words(folder: Path, known: Frame) -> None:
    env, command = environment(folder), words("users", "export", "alice")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=env, cwd=folder, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "gateway: cannot write standard output: No space left on device\n"
    shell = f"{' '.join(command)} | head -c 1"
    cut = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, env=env, cwd=folder, timeout=60, check=False)
    assert cut.stdout == b"{"
    assert cut.stderr == b""
