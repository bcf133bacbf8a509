"""An application's own lifespan: its place inside the gateway's, what it yields, and its errors."""

import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request

from gateway.app import create_app
from gateway.store.engine import Database
from gateway.testing import running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Empty, Wire
from tests.conftest import OwnGateway
from tests.support.client import App

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
STARTUP_FAILURE = 3  # uvicorn's exit status


@dataclass
class Tally:
    """What the handlers of this application share."""

    votes: list[str] = field(default_factory=list)
    is_open: bool = False


class Counted(Wire):
    """A reply."""

    votes: int


class VoteHandler(MsgHandler[Empty, Counted, Tally]):
    """Counts a vote."""

    schema = Empty

    async def handle(self, data: Empty) -> Counted:
        self.session.state.votes.append(self.session.user)
        return Counted(votes=len(self.session.state.votes))


TABLE = {**HANDLERS, "poll.vote": VoteHandler}

router = APIRouter()


@router.get("/votes")
async def votes(request: Request) -> list[str]:
    """Return the users that have voted."""
    tally: Tally = request.state.app_state
    return tally.votes


@router.get("/pool")
async def pool(request: Request) -> str:
    """Show what the lifespan of another application yields."""
    name: str = request.state.pool
    return name


async def test_what_a_lifespan_yields_reaches_handlers_and_routes(own_gateway: OwnGateway) -> None:
    tally = Tally()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Tally]:
        tally.is_open = True
        yield tally
        tally.is_open = False

    gateway = own_gateway(registry=TABLE, lifespan=lifespan, extend=lambda app: app.include_router(router))
    async with App(gateway) as app, app.connect("alice") as alice, app.connect("bob") as bob:
        assert await alice.ask("poll.vote") == {"votes": 1}
        assert await bob.ask("poll.vote") == {"votes": 2}
        assert (await app.http.get("/votes")).json() == ["alice", "bob"]
        assert tally.is_open


async def test_a_lifespan_ends_before_what_the_gateway_has_built(tmp_path: Path) -> None:
    databases: list[Database] = []
    answers: list[int] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        answers.append(await databases[0].query(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one()))

    app = create_app(settings_for_tests(tmp_path), lifespan=lifespan)
    async with app.router.lifespan_context(app) as state:
        databases.append(dict(state or {})["gateway"].database)
    assert answers == [1]


async def test_a_state_needs_no_lifespan(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(registry=TABLE, state=Tally(votes=["carol"]))
    async with App(gateway) as app, app.connect("alice") as alice:
        assert await alice.ask("poll.vote") == {"votes": 2}


async def test_the_keys_of_a_mapping_are_those_of_the_request_as_in_starlette(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(state={"pool": "ten connections"}, extend=lambda app: app.include_router(router))
    async with App(gateway) as app:
        assert (await app.http.get("/pool")).json() == "ten connections"


BROKEN = """
from contextlib import asynccontextmanager
from gateway.app import create_app

@asynccontextmanager
async def lifespan(app):
    raise OSError("no such pool")
    yield

app = create_app(lifespan=lifespan)
"""


def test_a_lifespan_that_raises_at_the_start_stops_it_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    command = [sys.executable, "-m", "uvicorn", "broken:app", "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "GATEWAY_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == STARTUP_FAILURE
    assert "Traceback" in ended.stderr
    assert "OSError: no such pool" in ended.stderr


async def test_after_a_lifespan_that_raises_at_the_start_nothing_is_held(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise OSError("no such pool")
        yield

    settings = settings_for_tests(tmp_path)
    with pytest.raises(OSError, match="no such pool"):
        async with create_app(settings, lifespan=lifespan).router.lifespan_context(FastAPI()):
            pass
    with running_gateway(settings):
        pass  # the folder is free again


async def test_a_lifespan_that_raises_at_the_end_is_logged_and_the_rest_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        raise OSError("the pool is stuck")

    settings = settings_for_tests(tmp_path)
    with running_gateway(settings, lifespan=lifespan) as gateway:
        async with App(gateway) as app, app.connect("alice") as alice:
            await alice.expect_nothing()
    records = [record for record in caplog.records if record.name == "gateway.lifespan"]
    assert [record.levelno for record in records] == [logging.ERROR]
    assert "OSError: the pool is stuck" in caplog.text
    with running_gateway(settings):
        pass


async def _plain(_: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("built_with", "problem"),
    [
        ({"lifespan": _plain}, "expected a function with @asynccontextmanager"),
        ({"state": {"app_state": "mine"}}, "expected another key than 'app_state'"),
    ],
)
async def test_what_is_no_lifespan_stops_the_start(tmp_path: Path, built_with: dict[str, Any], problem: str) -> None:
    app = create_app(settings_for_tests(tmp_path), **built_with)
    with pytest.raises(TypeError, match=problem):
        async with app.router.lifespan_context(app):
            pass


@pytest.mark.parametrize("wrong", [{"lifespan": "mine"}, {"lifespan": asynccontextmanager(_plain), "state": Tally()}])
def test_what_is_no_lifespan_at_all_makes_no_application(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="lifespan"):
        create_app(settings_for_tests(tmp_path), **wrong)
