"""Fixtures: one gateway that most tests share, and a separate one for tests with other settings.

Two stores: a test that uses a store runs on SQLite and on PostgreSQL if it lies in a place of `ON_BOTH` or has the mark
`both_stores`. All other tests run on SQLite. A test of a handler needs the mark in three cases: users do something at
once, the test is about stored text, or no other test makes PostgreSQL run one of its statements.

No server: a test gets the mark `unit` if it asks for no fixture that starts one, and has no mark `server`. A unit test
that opens a connection or starts a process fails. `make test-fast` runs the unit tests.
"""

import gc
import itertools
import logging
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from _pytest.unraisableexception import gc_collect_iterations_key

from gateway.bus import redis as redis_bus
from gateway.core import faults
from gateway.core.folding import FoldedLog
from gateway.core.garbage import tune_garbage_collector
from gateway.store.engine import Database
from gateway.testing import Gateway, StartGateway, running_gateway, settings_for_tests
from tests.support.client import App
from tests.support.postgres import any_postgres, fresh_database, in_thread
from tests.support.valkey import Valkey, running_valkey

# An example may take as long as a busy machine needs: an upper bound of time would fail there, and prove nothing.
hypothesis.settings.register_profile("no_deadline", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("no_deadline")

_numbers = itertools.count(1)

OwnGateway = StartGateway

pytest_plugins = ["gateway.testing.fixtures"]

# All that the collection of the tests makes stays: to search it for garbage would take a fifth of its time.
gc.disable()


ROOT = Path(__file__).parent
ON_BOTH = tuple(
    ROOT / place
    for place in (
        "gateway/connections/test_revocations.py",
        "gateway/auth/test_sessions.py",
        "gateway/auth/test_tickets.py",
        "gateway/store",
        "gateway/rooms",
        "gateway/chat/verbs",
    )
)

LONGEST = {
    ROOT / place
    for place in (
        "benchmarks/test_transport.py",
        "browser/test_api_documentation.py",
        "browser/test_console.py",
        "browser/test_frameworks.py",
        "clients/javascript/test_client.py",
        "clients/test_conformance.py",
        "gateway/cli/test_new.py",
        "gateway/documents/test_asyncapi.py",
        "gateway/http/test_openapi.py",
        "gateway/rooms/test_random_bus.py",
        "gateway/rooms/test_removal.py",
        "gateway/store/test_query_plans.py",
        "gateway/webhooks/test_two_nodes.py",
        "test_release.py",
        "test_two_nodes.py",
        "test_typing.py",
    )
}
"""Files of few tests that take many seconds. Run first, none of them is what all others wait for at the end."""

STARTS_SERVERS = {"store", "start_gateway", "postgres", "valkey", "shared_valkey", "unreliable", "served", "browser"}
"""The fixtures from which all servers of other fixtures come."""


async def make_tables(url: str) -> None:
    """Create all tables in an empty database."""
    database = Database(url)
    await database.upgrade()
    await database.close()


def pytest_configure(config: pytest.Config) -> None:
    """Search for garbage once at the end, not five times, which would take each process of the tests seconds."""
    config.stash[gc_collect_iterations_key] = 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on both stores, if it is in such a place and uses a store."""
    test = metafunc.definition
    if "store" not in metafunc.fixturenames:
        return
    if test.get_closest_marker("both_stores") is not None or any(map(test.path.is_relative_to, ON_BOTH)):
        metafunc.parametrize("store", ["sqlite", "postgresql"], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test that needs no server. One of several processes begins with the files that take longest."""
    if hasattr(config, "workerinput"):
        sizes = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in LONGEST, -sizes[item.path]))
    for item in items:
        assert isinstance(item, pytest.Function)
        if STARTS_SERVERS.isdisjoint(item.fixturenames) and item.get_closest_marker("server") is None:
            item.add_marker(pytest.mark.unit)


def pytest_collection_finish() -> None:
    """Collect garbage as rarely as `gateway serve` does: each collection would search all modules and tests."""
    tune_garbage_collector()
    gc.enable()


@pytest.fixture(autouse=True)
def no_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse a unit test connections and processes."""

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("a test that needs a server: expected the mark `server`, or a fixture of STARTS_SERVERS")

    def only_local(allowed: Callable[..., None]) -> Callable[..., None]:
        # A gateway's own socket in its data folder is no server that others would wait for.
        return lambda sock, *arguments: (allowed if sock.family == socket.AF_UNIX else refuse)(sock, *arguments)

    if request.node.get_closest_marker("unit") is not None:
        monkeypatch.setattr(socket.socket, "connect", only_local(socket.socket.connect))
        monkeypatch.setattr(socket.socket, "bind", only_local(socket.socket.bind))
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """The kind of store of this test."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def fresh_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without counted and logged faults, as a process does."""
    monkeypatch.setattr(faults, "counters", Counter())
    monkeypatch.setattr(faults, "_log", FoldedLog(faults.logger, logging.ERROR, same=faults.LINES_A_MINUTE))


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey for this test only."""
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL for the whole session, started by the first test that uses it: the URL to make databases with."""
    with any_postgres() as url:
        yield url


@pytest.fixture
def empty_store_url(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database for this test, without tables."""
    if store == "sqlite":
        yield f"sqlite:///{tmp_path / 'gateway.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to copy: to make them takes longer than most tests."""
    file = tmp_path_factory.mktemp("tables") / "gateway.db"
    in_thread(make_tables(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgresql_tables(postgres: str) -> Iterator[str]:
    """The name of a database with all tables, to copy."""
    with fresh_database(postgres) as url:
        in_thread(make_tables(url))
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def store_url(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A store for this test, with all tables and no rows."""
    tables = request.getfixturevalue(f"{store}_tables")
    if store == "sqlite":
        yield f"sqlite:///{shutil.copy(tables, tmp_path)}"
        return
    with fresh_database(request.getfixturevalue("postgres"), template=tables) as url:
        yield url


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    """An open store for this test."""
    database = Database(store_url)
    await database.upgrade()
    yield database
    await database.close()


@pytest.fixture(scope="session")
def sqlite_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shared gateway on SQLite."""
    with running_gateway(settings_for_tests(tmp_path_factory.mktemp("shared"))) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_gateway(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Gateway]:
    """The shared gateway on PostgreSQL."""
    with fresh_database(postgres) as url:
        with running_gateway(settings_for_tests(tmp_path_factory.mktemp("shared"), database_url=url)) as running:
            yield running


@pytest.fixture
def gateway(store: str, request: pytest.FixtureRequest) -> Gateway:
    """A gateway that all tests share. Their users and rooms have different names."""
    shared: Gateway = request.getfixturevalue(f"{store}_gateway")
    return shared


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    """An app that uses the shared gateway."""
    async with App(gateway) as app:
        yield app


@pytest.fixture
def own_gateway(store_url: str, start_gateway: StartGateway) -> StartGateway:
    """Start gateways of this test's own, as `start_gateway` does, on the store of this test."""
    return lambda **options: start_gateway(**({"database_url": store_url} | options))


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Make names that no other test uses."""
    return lambda name: f"{name}-{next(_numbers)}"


@pytest.fixture
def room(unique: Callable[[str], str]) -> str:
    """A room for this test."""
    return unique("room")


@pytest.fixture
def alice(unique: Callable[[str], str]) -> str:
    """A user for this test."""
    return unique("alice")


@pytest.fixture
def bob(unique: Callable[[str], str]) -> str:
    """Another user for this test."""
    return unique("bob")


@pytest.fixture
def unreliable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A Valkey that a test may stop and freeze. The gateway notices it sooner than in production."""
    monkeypatch.setattr(redis_bus, "PING_SECONDS", 0.1)
    monkeypatch.setattr(redis_bus, "LAST_RETRY_SECONDS", 0.2)
    with running_valkey() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in the captured output: a process of xdist sends its report as UTF-8, and ends at one."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
