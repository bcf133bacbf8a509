"""A backup of a store that is in use, of either kind, has every room as it was, and clients go on after a restore."""

import asyncio
from pathlib import Path

import pytest

from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.cli.conftest import RunHere
from tests.gateway.cli.test_backup import run_tool
from tests.support.client import App, ChatClient, Frame
from tests.support.former_store import live, views
from tests.support.postgres import fresh_database
from tests.support.waiting import until

pytestmark = pytest.mark.server

NOISE = "noise"
"""A room in which a client talks during the backup."""


async def used(gateway: Gateway, folder: Path, run_here: RunHere, file: Path) -> tuple[Frame, list[str], Frame]:
    """Use a gateway, and make a backup meanwhile. Return what the clients know, what was said, and the last message."""
    await live(gateway)
    async with App(gateway) as app, app.in_room("carla", NOISE) as carla:
        known = await views(app, "alice")
        said: list[str] = []

        async def talk() -> None:
            while True:
                said.append((await carla.say(NOISE, f"{len(said)}"))["text"])

        talking = asyncio.create_task(talk())
        await until(lambda: len(said) > 5)
        await asyncio.to_thread(back_up, gateway, folder, run_here, file)
        before = len(said)
        await until(lambda: len(said) > before + 5)
        talking.cancel()
        await asyncio.wait([talking])
        async with app.connect("alice") as alice:
            lost = (await alice.until(id=await alice.start("chat.send", room="lobby", text="lost")))["data"]["message"]
        return known, said, lost


def back_up(gateway: Gateway, folder: Path, run_here: RunHere, file: Path) -> None:
    url = gateway.settings.store_url
    if url.startswith("sqlite"):
        assert run_here(folder, "db", "backup", str(file)).status == 0
    else:
        run_tool("pg_dump", "--format=custom", "--file", str(file), url)


def restore(url: str, folder: Path, run_here: RunHere, file: Path) -> None:
    if url.startswith("sqlite"):
        assert run_here(folder, "db", "restore", str(file)).status == 0
    else:
        run_tool("pg_restore", "--no-owner", "--dbname", url, str(file))
        assert run_here(folder, "db", "restore", GATEWAY_DATABASE_URL=url).status == 0


def without_epochs(found: Frame) -> Frame:
    """Return rooms without what a restore changes: their epochs, and with these the ids of messages."""
    return {
        name: {**view, "room": _plain(view["room"]), "log": list(map(_plain, view["log"]))}
        for name, view in found.items()
    }


def _plain(found: Frame) -> Frame:
    reply_to = found.get("reply_to", "").rpartition(".")[2]
    return {key: value for key, value in found.items() if key not in {"epoch", "id"}} | {"reply_to": reply_to}


async def go_on(app: App, known: Frame, lost: Frame, said: list[str]) -> None:
    """Look at all rooms, and come back as clients that were away."""
    assert without_epochs(await views(app, "alice")) == without_epochs(known)
    async with app.connect("alice") as alice, app.connect("bob") as bob, app.connect("carla") as carla:
        texts = [message["text"] for message in await whole(carla)]
        assert 5 < len(texts) <= len(said)
        assert texts == said[: len(texts)]  # one moment of a room that was in use
        for client in (alice, bob):
            since = {"epoch": lost["epoch"], "offset": lost["offset"]}
            joined = await client.ask("room.join", room="lobby", since=since)
            assert (joined["recovered"], joined["reason"]) == (False, "epoch_changed")
            assert "lost" not in [message.get("text") for message in joined["messages"]]
        number = await bob.start("chat.send", room="lobby", text="new")
        new = (await bob.until(id=number))["data"]["message"]
        assert (await alice.until(type="chat.message"))["data"]["id"] == new["id"] != lost["id"]
        position = {"epoch": joined["epoch"], "offset": joined["offset"]}
    async with app.connect("alice") as alice:
        again = await alice.ask("room.join", room="lobby", since=position)
        assert again["recovered"]
        assert [event["data"]["id"] for event in again["events"]] == [new["id"]]


async def whole(client: ChatClient) -> list[Frame]:
    """Read all of the room that was in use."""
    log: list[Frame] = []
    while page := (await client.ask("chat.history", room=NOISE, after=len(log), limit=100))["messages"]:
        log += page
    return log


async def test_sqlite(tmp_path: Path, run_here: RunHere) -> None:
    file, settings = tmp_path / "backup.db", settings_for_tests(tmp_path / "data")
    with running_gateway(settings) as gateway:
        known, said, lost = await used(gateway, tmp_path, run_here, file)
    await asyncio.to_thread(restore, settings.store_url, tmp_path, run_here, file)
    with running_gateway(settings) as gateway:
        async with App(gateway) as app:
            await go_on(app, known, lost, said)


async def test_postgresql(tmp_path: Path, run_here: RunHere, postgres: str) -> None:
    file = tmp_path / "gateway.dump"
    with fresh_database(postgres) as first, fresh_database(postgres) as second:
        with running_gateway(settings_for_tests(tmp_path / "data", database_url=first)) as gateway:
            known, said, lost = await used(gateway, tmp_path, run_here, file)
        await asyncio.to_thread(restore, second, tmp_path, run_here, file)
        with running_gateway(settings_for_tests(tmp_path / "data", database_url=second)) as gateway:
            async with App(gateway) as app:
                await go_on(app, known, lost, said)
