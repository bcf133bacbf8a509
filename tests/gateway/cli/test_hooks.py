"""`gateway hooks`: list, test, retry and clear, beside a gateway that runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import Result, serving
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App
from tests.support.receivers import Receiver, running_receiver
from tests.support.waiting import until

pytestmark = pytest.mark.server

FILE = """
[hooks.push]
url = "{url}"
secret = "env:PUSH_SECRET"
types = ["message.stored"]
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


class Shell:
    """A folder with a routes file, and the commands there."""

    def __init__(self, folder: Path, receiver: Receiver, run: RunHere) -> None:
        self._run = run
        (folder / "routes.toml").write_text(FILE.format(url=receiver.url))
        self.folder = folder
        self.variables: dict[str, Any] = {
            "GATEWAY_ROUTES": "routes.toml",
            "PUSH_SECRET": receiver.secret,
            "COLUMNS": "200",
        }

    async def run(self, *arguments: str, typed: str = "") -> Result:
        return await asyncio.to_thread(self._run, self.folder, "hooks", *arguments, typed=typed, **self.variables)

    async def row(self, name: str) -> list[str]:
        """Return what `list` shows of a hook."""
        listed = await self.run("list")
        assert listed.status == 0, listed
        rows = [
            [cell.strip() for cell in line.strip("│").split("│")] for line in listed.out.splitlines() if "│" in line
        ]
        return next(row for row in rows if row[0] == name)


async def test_a_disabled_hook_is_shown_and_begins_anew(tmp_path: Path, receiver: Receiver, run_here: RunHere) -> None:
    shell = Shell(tmp_path, receiver, run_here)
    receiver.answer = lambda _: 410
    with serving(tmp_path, **shell.variables) as served:
        async with App(cast(Gateway, served)) as app, app.in_room("alice", "lobby") as alice:
            for text in ("one", "two"):
                await alice.say("lobby", text)
            await until(lambda: receiver.got)
            await until(lambda: _is_disabled(app))
        _, state, waiting, parked, oldest, failure = await shell.row("push")
        assert state.startswith("disabled since 20")
        assert (waiting, parked) == ("2", "0")
        assert oldest.startswith("20")
        assert failure.endswith("answered 410")
        assert receiver.secret not in (await shell.run("list")).out
        shell.variables["COLUMNS"] = "60"
        assert "…" not in (await shell.run("list")).out  # the reason is whole on a narrow terminal too
        shell.variables["COLUMNS"] = "200"
        good = (tmp_path / "routes.toml").read_text()
        (tmp_path / "routes.toml").write_text(good + "paralel = 3\n")  # a wrong file hides nothing of the store
        assert "there is no such key" in (await shell.run("list")).err
        assert (await shell.row("push"))[1].startswith("disabled since 20")
        (tmp_path / "routes.toml").write_text(good)
        receiver.answer = lambda _: 204
        retried = await shell.run("retry", "push")
        assert retried.out == "push is enabled, and all that waits goes out now; 0 events were parked\n"
        await until(lambda: len(receiver.got) == 3)
    assert [each.data["message"]["text"] for each in receiver.got] == ["one", "one", "two"]


async def _is_disabled(app: App) -> bool:
    return bool((await app.http.get("/readyz")).json()["hooks"] == "degraded")


async def test_an_event_that_is_not_due_waits_and_is_not_the_oldest(
    tmp_path: Path, receiver: Receiver, run_here: RunHere
) -> None:
    shell = Shell(tmp_path, receiver, run_here)
    file = (tmp_path / "routes.toml").read_text()
    (tmp_path / "routes.toml").write_text(file.replace("message.stored", "message.unseen") + "unseen_seconds = 3600\n")
    with serving(tmp_path, **shell.variables) as served:
        async with App(cast(Gateway, served)) as app, app.in_room("alice", "lobby") as alice:
            await alice.say("lobby", "hello")
            _, _, waiting, _, oldest, _ = await shell.row("push")
    assert (waiting, oldest) == ("1", "")


async def test_a_hook_is_tried_without_a_gateway_that_runs(
    tmp_path: Path, receiver: Receiver, run_here: RunHere
) -> None:
    shell = Shell(tmp_path, receiver, run_here)
    tried = await shell.run("test", "push")
    assert (tried.status, tried.out) == (0, "push: answered 204; the event was delivered\n")
    [event] = receiver.got
    assert (event.type, event.data, event.verified) == ("hook.test", {"hook": "push"}, True)
    receiver.answer = lambda _: 302
    tried = await shell.run("test", "push")
    assert (tried.status, tried.out) == (1, "push: answered 302; the event was not delivered\n")
    assert (await shell.run("test", "pull")).problem == "there is no hook pull; see: gateway hooks list"
    assert (await shell.run("retry", "pull")).problem == "there is no hook pull; see: gateway hooks list"


async def test_events_of_a_hook_that_is_gone_are_shown_and_can_be_removed(
    tmp_path: Path, receiver: Receiver, run_here: RunHere
) -> None:
    shell = Shell(tmp_path, receiver, run_here)
    receiver.answer = lambda _: 500
    with serving(tmp_path, **shell.variables) as served:
        async with App(cast(Gateway, served)) as app, app.in_room("alice", "lobby") as alice:
            await alice.say("lobby", "one")
            await until(lambda: receiver.got)
    del shell.variables["GATEWAY_ROUTES"]
    assert (await shell.row("push"))[1:4] == ["not in the routes file", "1", "0"]
    kept = await shell.run("clear", "push", typed="n\n")
    assert kept.status == 1
    removed = await shell.run("clear", "push", "--yes")
    assert removed.out == "removed 1 events of push\n"
    assert "there is no hook" in (await shell.run("list")).out
