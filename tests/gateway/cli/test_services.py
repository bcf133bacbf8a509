"""`gateway services`: the operator makes, rotates and revokes the keys of services, while the gateway runs."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from schemas.services import SERVICE_SCOPES
from tests.gateway.cli.command import Result, Served
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server

KEY = r"gwk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}"


class Operator:
    """Runs `gateway services …` beside the running gateway."""

    def __init__(self, run_here: RunHere, folder: Path) -> None:
        self._run_here = run_here
        self._folder = folder

    def run(self, *arguments: str) -> Awaitable[Result]:
        # In a thread: the command runs a loop of its own.
        return asyncio.to_thread(self._run_here, self._folder, "services", *arguments)

    async def key(self, *arguments: str) -> str:
        done = await self.run(*arguments)
        assert done.status == 0, done
        key = done.out.removesuffix("\n")
        assert "shown only now" in done.err
        return key

    def audited(self, name: str) -> list[dict[str, Any]]:
        lines = (self._folder / "data/audit.log").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if entry.get("user") == f"service:{name}"]


@pytest.fixture
def operator(run_here: RunHere, served: Served) -> Operator:
    return Operator(run_here, served.folder)


async def ask(app: App, key: str) -> httpx2.Response:
    return await app.ask("POST", "/token/introspect", key, data={"token": "x"})


async def test_a_key_counts_until_it_is_revoked(operator: Operator, app: App, alice: str, served: Served) -> None:
    key = await operator.key("add", alice, "--scope", "server", "--scope", "api:publish", "--rooms", "order-*")
    found = re.fullmatch(KEY, key)
    assert found is not None
    assert (await ask(app, key)).json() == {"active": False}

    async def is_used() -> bool:
        row = re.sub(r"\s+", " ", (await operator.run("list")).out)
        return re.search(rf"{alice} │ api:publish │ order-\* │ {found[1]} │ \d{{4}}-\d\d", row) is not None

    await until(is_used)
    assert (await operator.run("revoke", alice)).out == f"revoked {found[1]}\n"
    refused = await ask(app, key)
    assert (refused.status_code, refused.json()["name"]) == (401, "token_revoked")
    assert key not in (await operator.run("list")).out

    events = [entry["event"] for entry in operator.audited(alice)]
    assert events == ["service_added", "service_key_revoked", "service_refused"]
    written = (served.folder / "data/audit.log").read_text() + served.output.text
    assert key not in written
    assert key.rpartition("_")[2] not in written


async def test_what_a_service_may_do_changes_without_a_new_key(operator: Operator, app: App, alice: str) -> None:
    key = await operator.key("add", alice, "--scope", "server", "--scope", "api:rooms", "--rooms", "order-*")
    form = {"grant_type": "client_credentials", "client_id": alice, "client_secret": key}
    token = (await app.http.post("/token", data=form)).json()["access_token"]
    changed = await operator.run("set", alice, "--scope", "api:rooms", "--scope", "api:users")
    assert changed.out == f"{alice} has api:rooms api:users, in order-*\n"
    for credential in (key, token):
        assert (await ask(app, credential)).status_code == 403
        assert (await app.ask("GET", "/api/rooms/lobby", credential)).json()["status"] == 40300
    assert (
        await operator.run("set", alice, "--rooms", "lobby*")
    ).out == f"{alice} has api:rooms api:users, in lobby*\n"
    for credential, may_disconnect in ((key, True), (token, False)):
        assert (await app.ask("GET", f"/api/rooms/lobby-{alice}", credential)).json()["status"] == 40400
        refused = await app.ask("POST", "/api/users/nobody-there/disconnect", credential)
        assert ("scope" in refused.json()["message"]) is not may_disconnect  # a token gets no new scope
    assert (await operator.run("set", alice, "--rooms", "*")).out == f"{alice} has api:rooms api:users, in every room\n"
    assert (await app.ask("GET", "/api/rooms/other", key)).json()["status"] == 40400
    audited = [each for each in operator.audited(alice) if each["event"] == "service_changed"]
    assert [(each["scopes"], each.get("rooms")) for each in audited] == [
        ("api:rooms api:users", "order-*"),
        ("api:rooms api:users", "lobby*"),
        ("api:rooms api:users", None),
    ]


async def test_a_rotation_keeps_the_old_key_for_the_overlap(operator: Operator, app: App, alice: str) -> None:
    old = await operator.key("add", alice, "--scope", "server")
    new = await operator.key("rotate", alice)
    assert old != new
    for key in (old, new):
        assert (await ask(app, key)).status_code == 200
    newest = await operator.key("rotate", alice, "--overlap", "0")
    for key in (old, new):
        refused = await ask(app, key)
        assert (refused.status_code, refused.json()["name"]) == (401, "token_expired")
        assert "use the new key" in refused.json()["message"]
    assert (await ask(app, newest)).status_code == 200
    assert [entry["event"] for entry in operator.audited(alice)][:3] == [
        "service_added",
        "service_key_rotated",
        "service_key_rotated",
    ]


async def test_one_key_of_several_is_revoked(operator: Operator, app: App, alice: str) -> None:
    old, new = await operator.key("add", alice, "--scope", "server"), await operator.key("rotate", alice)
    old_id = old.split("_")[1]
    assert (await operator.run("revoke", alice, "--key", old_id)).status == 0
    assert ((await ask(app, old)).status_code, (await ask(app, new)).status_code) == (401, 200)
    again = await operator.run("revoke", alice, "--key", old_id)
    assert again.problem == f"{alice} has no key {old_id} that is not revoked; see: gateway services list"


async def test_a_removed_service_is_gone_and_one_of_its_name_is_new(operator: Operator, app: App, alice: str) -> None:
    key = await operator.key("add", alice, "--scope", "server")
    assert (await operator.run("remove", alice)).out == f"removed {alice}\n"
    assert (await ask(app, key)).json()["name"] == "token_revoked"
    assert alice not in (await operator.run("list")).out
    for command in (["remove", alice], ["rotate", alice], ["revoke", alice]):
        assert (await operator.run(*command)).problem == f"there is no {alice}; see: gateway services list"
    again = await operator.key("add", alice, "--scope", "server")
    assert ((await ask(app, key)).status_code, (await ask(app, again)).status_code) == (401, 200)


async def test_a_service_is_no_user_to_the_other_commands(
    operator: Operator, run_here: RunHere, served: Served, alice: str
) -> None:
    await operator.key("add", alice, "--scope", "server")
    assert alice not in (await asyncio.to_thread(run_here, served.folder, "users", "list")).out
    for command in (["users", "disable"], ["users", "passwd"], ["users", "grant"], ["token"]):
        words = [*command, f"service:{alice}", *(["admin"] if command[-1] == "grant" else [])]
        refused = await asyncio.to_thread(run_here, served.folder, *words)
        assert refused.problem == "USER: this is a service, and no user; see: gateway services"


async def test_the_url_of_an_incoming_webhook_is_printed_once(
    operator: Operator, app: App, alice: str, room: str
) -> None:
    url = await operator.key("hook", "add", room, "--name", alice, "--url", "https://chat.example.com/app/")
    found = re.fullmatch(rf"https://chat\.example\.com/app/hook/({KEY})", url)
    assert found is not None
    refused = await ask(app, found[1])
    assert (refused.status_code, refused.json()["status"]) == (403, 40300)
    assert "incoming webhook" in refused.json()["message"]
    listed = (await operator.run("hook", "list")).out
    assert found[2] in listed
    assert found[1] not in listed
    assert alice not in (await operator.run("list")).out
    assert (await operator.run("remove", alice)).problem == f"there is no {alice}; see: gateway services list"
    assert (await operator.run("hook", "remove", alice)).out == f"removed {alice}\n"
    assert (
        await operator.run("hook", "remove", alice)
    ).problem == f"there is no {alice}; see: gateway services hook list"
    unnamed = await operator.key("hook", "add", room)
    assert re.fullmatch(rf"http://127\.0\.0\.1:8000/hook/{KEY}", unnamed)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            "add orders --scope api:all",
            "--scope: expected one of server, api:publish, api:rooms, api:connections, api:users, api:serve,"
            " got 'api:all'",
        ),
        ("add Orders --scope server", "NAME: expected 1 to 32 of a-z 0-9 - _ . with a letter or digit first"),
        ("add service:x --scope server", "NAME: expected 1 to 32 of a-z 0-9 - _ . with a letter or digit first"),
        (
            "add orders --scope server --rooms **",
            "--rooms: write one star instead of two in '**'; it stands for any run of characters",
        ),
        (
            "set orders",
            "expected --scope or --rooms, with all that the service is to have; see: gateway services list",
        ),
        ("set orders --scope server", "there is no orders; see: gateway services list"),
        (
            "set orders --rooms **",
            "--rooms: write one star instead of two in '**'; it stands for any run of characters",
        ),
        ("hook add Lobby!", "ROOM: expected 1 to 64 of a-z 0-9 - _ . with a letter or digit first"),
        ("hook add lobby --url x", "--url: expected a URL such as https://chat.example.com, got 'x'"),
    ],
)
def test_mistakes_are_named(arguments: str, problem: str, tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "services", *arguments.split()).problem == problem


def test_a_name_is_taken_once(tmp_path: Path, run_here: RunHere) -> None:
    added = run_here(tmp_path, "services", "add", "orders", "--scope", "server")
    assert added.status == 0
    assert f"{tmp_path / 'data'} is new: only a gateway with this data folder knows it" in added.err
    assert " is new" not in run_here(tmp_path, "services", "add", "stock", "--scope", "server").err
    for words in (["add", "orders", "--scope", "server"], ["hook", "add", "lobby", "--name", "orders"]):
        taken = run_here(tmp_path, "services", *words)
        assert taken.problem == "there is a service or an incoming webhook orders already; choose another name"


async def test_a_pattern_for_every_room_limits_nothing(operator: Operator, app: App, alice: str) -> None:
    key = await operator.key("add", alice, "--scope", "api:users", "--rooms", "*", "--rooms", "order-*")
    assert re.search(rf"{alice} +│ api:users +│ every ", (await operator.run("list")).out)
    assert (await app.ask("POST", "/api/users/nobody-there/disconnect", key)).status_code == 404


PAGE = (Path(__file__).parents[3] / "docs/tokens.md").read_text(encoding="utf-8")


def test_the_page_lists_every_scope_with_its_meaning() -> None:
    rows = re.findall(r"^\| `(server|api:\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert {scope: meaning.replace("`", "") for scope, meaning in rows} == dict(SERVICE_SCOPES)


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path, run_here: RunHere) -> None:
    section = PAGE.partition("\n## Service keys\n")[2].partition("\n## ")[0]
    commands = re.findall(r"(?:^    \$ |`)gateway (services [^`\n]+)", section, re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        done = run_here(tmp_path, *shlex.split(command))
        assert done.status == 0, (command, done)
