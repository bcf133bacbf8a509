"""The package of docs/extending.md works as printed, in an empty folder."""

import re
import runpy
import shutil
from pathlib import Path
from typing import cast

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import PYTEST, check, run, serving
from tests.support.client import App
from tests.support.mypy import OPTIONS, check_types

pytestmark = pytest.mark.server

PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text()
FILES = re.findall(r"Save this as `([\w/.]+)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SCOPES = "chat:read chat:write rooms:manage polls:vote"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, as a reader of the page has it."""
    folder = tmp_path_factory.mktemp("page")
    assert run(folder, "new", "handler", "poll.vote", "--package", "polls").status == 0
    assert len(FILES) >= 6
    for path, text in FILES:
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy for this test."""
    return Path(shutil.copytree(written, tmp_path, dirs_exist_ok=True))


def test_the_package_passes_its_own_checks(folder: Path) -> None:
    check_types(folder, *OPTIONS, "polls", "tests")
    check(folder, *PYTEST)


async def test_two_users_vote_until_the_poll_is_closed(folder: Path) -> None:
    with serving(folder, "--app", "polls.app:app", GATEWAY_DEFAULT_SCOPES=SCOPES) as served:
        async with App(cast(Gateway, served)) as app, app.connect("alice") as alice, app.connect("bob") as bob:
            assert (await alice.refused("poll.vote", room="lobby", choice="tea"))["status"] == 40400
            await alice.ask("room.join", room="lobby")
            assert (await bob.refused("poll.vote", room="lobby", choice="tea"))["status"] == 40301
            await bob.ask("room.join", room="lobby")
            await alice.expect("room.joined", user="bob")

            assert await alice.ask("poll.vote", room="lobby", choice="tea") == {"choice": "tea", "votes": 1}
            for client in (alice, bob):
                await client.expect("poll.changed", room="lobby", choice="tea", votes=1)
            await bob.ask("poll.vote", room="lobby", choice="tea")
            for client in (alice, bob):
                await client.expect("poll.changed", room="lobby", choice="tea", votes=2)

            # A vote ends with the membership.
            await bob.ask("room.leave", room="lobby")
            await alice.expect("room.left", user="bob")
            assert (await alice.ask("poll.vote", room="lobby", choice="tea"))["votes"] == 1
            await alice.expect("poll.changed", votes=1)

            assert (await app.http.post("/polls/lobby/close")).status_code == 401
            closed = await app.ask("POST", "/polls/lobby/close", await app.token("alice"))
            assert closed.status_code == 204
            await alice.expect("poll.changed", choice="closed")
            error = await alice.refused("poll.vote", room="lobby", choice="tea")
            assert (error["status"], error["name"]) == (60001, "poll_closed")
            await bob.heard()


async def test_the_registry_alone_adds_the_message(folder: Path) -> None:
    with serving(folder, GATEWAY_REGISTRY="polls.registry:registry", GATEWAY_DEFAULT_SCOPES=SCOPES) as served:
        async with App(cast(Gateway, served)) as app, app.connect("alice") as alice:
            assert (await alice.refused("poll.vote", room="lobby", choice=""))["status"] == 42200


def test_the_other_programs_of_the_page_run(tmp_path: Path) -> None:
    others = [program for program in PROGRAMS if program not in dict(FILES).values()]
    assert len(others) == 2
    for program in others:
        (tmp_path / "program.py").write_text(program)
        runpy.run_path(str(tmp_path / "program.py"))
