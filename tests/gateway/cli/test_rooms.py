"""`gateway rooms`: lists, shows, deletes and exports rooms while gateways run."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import live_log
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.cli.command import Result
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App, Frame
from tests.support.nodes import running_nodes
from tests.support.postgres import fresh_database
from tests.support.valkey import running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rooms")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    with running_gateway(settings_for_tests(folder / "data")) as running:
        yield running


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    async with App(gateway) as app:
        yield app


class Rooms:
    """Runs `gateway rooms …`."""

    def __init__(self, run_here: RunHere, folder: Path, **variables: str) -> None:
        self._run, self._folder, self._variables = run_here, folder, variables

    async def __call__(self, *arguments: str, typed: str = "") -> Result:
        return await asyncio.to_thread(self._run, self._folder, "rooms", *arguments, typed=typed, **self._variables)

    async def json(self, *arguments: str) -> Any:
        return json.loads((await self(*arguments, "--json")).out)


@pytest.fixture
def rooms(run_here: RunHere, folder: Path) -> Rooms:
    return Rooms(run_here, folder)


async def test_rooms_are_listed_in_pages_and_shown_with_their_members(
    app: App, alice: str, bob: str, room: str, rooms: Rooms
) -> None:
    names = [f"{room}-{number}" for number in range(5)]
    async with app.connect(alice) as client, app.connect(bob) as other:
        for name in names:
            await client.ask("room.create", room=name, title=f"Titel ☃ {name}", private=name == names[2])
        await other.ask("room.join", room=names[0])
        await client.ask("direct.open", user=bob)
    seen: list[str] = []
    after: str | None = f"{room}"
    while after is not None and len(seen) < 5:
        page = await rooms.json("list", "--limit", "2", "--after", after)
        seen += [each["name"] for each in page["rooms"]]
        after = page["next_cursor"]
    assert seen[:5] == names
    table = await rooms("list", "--limit", "1")
    assert "more: gateway rooms list --after " in table.err
    assert any(each["direct"] for each in (await rooms.json("list"))["rooms"])
    shown = await rooms.json("show", names[0])
    assert shown["title"] == f"Titel ☃ {names[0]}"
    assert shown["members"] == 2
    assert shown["member_list"] == [{"user": alice, "role": "owner"}, {"user": bob, "role": "member"}]
    words = (await rooms("show", names[2])).out
    assert "private       yes" in words
    assert f"owner         {alice}" in words
    more = await rooms("show", names[0], "--limit", "1")
    assert "and 1 members more" in more.err


async def test_no_title_breaks_the_table_or_commands_the_terminal(
    app: App, alice: str, room: str, rooms: Rooms
) -> None:
    title = "[/] [red]:bomb:\x1b]0;owned\x07\x9b\u202e"
    async with app.connect(alice) as client:
        await client.ask("room.create", room=room, title=title)
    as_json = await rooms("show", room, "--json")
    assert all(line.isprintable() for line in as_json.out.split("\n"))
    assert json.loads(as_json.out)["title"] == title
    for shown in (await rooms("list", "--limit", "1000"), await rooms("show", room)):
        assert shown.status == 0
        assert "\x1b" not in shown.out
        assert "[/]" in shown.out
        assert "[red]:bomb:" in shown.out


@pytest.mark.parametrize("name", ["no-such-room", "~5", "", "ROOM", "raum ☃", "a' OR 1=1 --", "x" * 5000])
async def test_an_unknown_room_is_one_line(name: str, rooms: Rooms, tmp_path: Path) -> None:
    for words in (["show"], ["delete", "--yes"], ["export", "-o", str(tmp_path / "out")]):
        refused = await rooms(words[0], name, *words[1:])
        assert refused.problem == f"there is no room {name}; see: gateway rooms list"
    assert os.listdir(tmp_path) == []


async def test_an_export_has_the_log_in_its_order(
    app: App, alice: str, bob: str, room: str, rooms: Rooms, tmp_path: Path
) -> None:
    async with app.in_room(alice, room) as client, app.in_room(bob, room):
        await client.heard()
        said = [await client.say(room, f"☃ {number}") for number in range(250)]
        await client.ask("chat.edit", room=room, message_id=said[0]["id"], text="edited")
        await client.heard()
        log: list[Frame] = []
        while page := (await client.ask("chat.history", room=room, after=len(log), limit=100))["messages"]:
            log += page
    file = tmp_path / "log.jsonl"
    assert (await rooms("export", room, "-o", str(file))).status == 0
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["type"] for line in found] == ["room", "member", "member", *["message"] * 250, "end"]
    assert [line["data"] for line in found if line["type"] == "message"] == log
    assert found[-1]["data"] == {"messages": 250}
    assert (await rooms("export", room, "-o", str(file))).problem.endswith("or add --replace")
    assert (await rooms("export", room)).out == file.read_text()


async def test_a_deleted_room_is_gone_for_its_clients_at_once_and_its_name_is_free(
    app: App, folder: Path, alice: str, bob: str, room: str, rooms: Rooms
) -> None:
    async with app.in_room(alice, room) as client, app.in_room(bob, room) as other, app.connect(bob) as stranger:
        await client.heard()
        said = await client.say(room, f"secret of {room}")
        await other.heard()
        refused = await rooms("delete", room, typed="n\n")
        assert refused.status == 1
        assert f"Delete {room}, with 2 members" in refused.out
        await client.ask("chat.history", room=room)
        done = await rooms("delete", room, "--yes")
        assert (done.status, done.out, done.err) == (0, f"{room} is deleted\n", "")
        for listener in (client, other):
            await listener.expect("room.deleted", room=room)
            assert (await listener.refused("chat.send", room=room, text="x"))["status"] == 40400
        await stranger.expect_nothing()
        since = {"epoch": said["epoch"], "offset": said["offset"]}
        anew = await client.ask("room.join", room=room, since=since)
        assert (anew["recovered"], anew["reason"], anew["messages"]) == (False, "epoch_changed", [])
    with closing(sqlite3.connect(folder / "data" / "gateway.db")) as database:
        dump = "\n".join(database.iterdump())
    assert f"secret of {room}" not in dump
    assert "'~" not in dump  # nothing is left of a deleted room
    assert '"event": "room_deleted"' in (folder / "data" / "audit.log").read_text()


async def test_a_room_may_be_deleted_while_a_client_sends(app: App, alice: str, room: str, rooms: Rooms) -> None:
    answers: list[int] = []

    async with app.in_room(alice, room) as client:

        async def talk() -> None:
            while not answers or answers[-1] == 20000:
                number = await client.start("chat.send", room=room, text="x")
                answers.append((await client.until(id=number))["status"])

        talking = asyncio.create_task(talk())
        await until(lambda: len(answers) > 10)
        assert (await rooms("delete", room, "--yes")).status == 0
        await asyncio.wait_for(talking, 20)
        assert answers[-1] == 40400
        assert set(answers[:-1]) == {20000}


async def test_direct_rooms_are_known_too(app: App, alice: str, bob: str, rooms: Rooms) -> None:
    async with app.connect(alice) as client:
        await app.register(bob)
        name = (await client.ask("direct.open", user=bob))["room"]["name"]
        await client.ask("room.join", room=name)
        assert (await rooms("delete", name, "--yes")).status == 0
        await client.until(type="room.deleted")


async def test_the_clients_of_all_nodes_hear_that_a_room_is_deleted(
    tmp_path: Path, postgres: str, run_here: RunHere
) -> None:
    with running_valkey() as valkey, fresh_database(postgres) as url, running_nodes(tmp_path, url, valkey) as nodes:
        rooms = Rooms(run_here, tmp_path, GATEWAY_DATABASE_URL=url, GATEWAY_BUS_URL=valkey.url)
        async with (
            App(nodes[0]) as here,
            App(nodes[1]) as there,
            here.in_room("alice", "lobby") as alice,
            there.in_room("bob", "lobby") as bob,
        ):
            await alice.until(type="room.joined")
            done = await rooms("delete", "lobby", "--yes")
            assert (done.status, done.err) == (0, "")
            for client in (alice, bob):
                await client.expect("room.deleted", room="lobby")
                await client.expect_nothing()


async def test_without_the_right_to_the_folder_of_the_gateway_nothing_is_deleted(
    app: App, alice: str, room: str, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user of these tests may have every right, so the system's refusal is made up."""

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    async with app.in_room(alice, room) as client:
        with monkeypatch.context() as patch:
            patch.setattr(live_log, "sockets_in", refuse)
            refused = await rooms("delete", room, "--yes")
        assert "cannot look for the gateway that serves from" in refused.problem
        assert refused.problem.endswith("run this as the gateway's user")
        await client.say(room, "still here")
