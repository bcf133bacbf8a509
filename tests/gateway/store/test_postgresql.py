"""Connections to PostgreSQL: the effect of a URL's parameters on a real server, and the choice of the host."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.start_error import StartError
from gateway.store import engine
from gateway.store.engine import Database, StoreUnavailable
from tests.support.certificate import certificate
from tests.support.postgres import Postgres, running_postgres
from tests.support.proxy import Proxy

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the certificate for `localhost`."""
    return tmp_path_factory.mktemp("certificate")


@pytest.fixture(scope="module")
def plain() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
async def secure(plain: Postgres, folder: Path) -> Postgres:
    """The same server, which accepts TLS from now on."""
    if not (folder / "key.pem").exists():
        file, _ = certificate(folder)
        await plain.use_tls(file)
    return plain


@pytest.fixture(autouse=True)
def no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without authorities in `~/.postgresql`, where the driver looks as well."""
    monkeypatch.setenv("HOME", str(tmp_path))


async def answer(url: str, question: str) -> object:
    """Run a query on a connection of the gateway, or raise `StoreUnavailable`."""
    database = Database(url)
    try:
        found: object = await database.query(lambda connection: connection.execute(text(question)).scalar_one())
        return found
    finally:
        await database.close()


async def is_encrypted(url: str) -> object:
    return await answer(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_without_tls_at_the_server_modes_that_can_do_without_it_connect(plain: Postgres, mode: str) -> None:
    assert await is_encrypted(f"{plain.url('postgres')}?sslmode={mode}") is False


@pytest.mark.parametrize("parameters", ["sslmode=require", "ssl=true", "channel_binding=require"])
async def test_without_tls_at_the_server_modes_that_require_it_do_not(plain: Postgres, parameters: str) -> None:
    with pytest.raises(StoreUnavailable):
        await is_encrypted(f"{plain.url('postgres')}?{parameters}")


@pytest.mark.parametrize(
    ("host", "parameters", "encrypted"),
    [
        ("127.0.0.1", "sslmode=disable", False),
        ("127.0.0.1", "sslmode=allow", False),
        ("127.0.0.1", "", True),
        ("127.0.0.1", "sslmode=prefer", True),
        ("127.0.0.1", "sslmode=require", True),
        ("127.0.0.1", "sslmode=require&channel_binding=prefer", True),
        ("127.0.0.1", "ssl=true", True),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={certificate}", True),
        ("localhost", "sslmode=verify-full&sslrootcert={certificate}", True),
        ("localhost", "sslmode=require&channel_binding=require&sslrootcert={certificate}", True),
    ],
)
async def test_with_tls_at_the_server_each_mode_means_what_it_says(
    secure: Postgres, folder: Path, host: str, parameters: str, encrypted: bool
) -> None:
    url = secure.url("postgres").replace("127.0.0.1", host)
    assert await is_encrypted(f"{url}?{parameters.format(certificate=folder / 'certificate.pem')}") is encrypted


@pytest.mark.parametrize(
    ("host", "parameters"),
    [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={certificate}"),
        ("localhost", "sslmode=verify-full"),
        ("localhost", "sslmode=verify-ca"),
        ("localhost", "sslmode=verify-full&sslrootcert=system"),
        ("localhost", "sslmode=require&channel_binding=require"),
        ("127.0.0.1", "sslmode=require&channel_binding=require&sslrootcert={certificate}"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_not_taken_where_one_must_prove_the_server(
    secure: Postgres, folder: Path, host: str, parameters: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = secure.url("postgres").replace("127.0.0.1", host)
    with pytest.raises(StoreUnavailable):
        await is_encrypted(f"{url}?{parameters.format(certificate=folder / 'certificate.pem')}")
    assert "certificate" in caplog.messages[-1]


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
def test_a_file_that_is_not_there_is_named_at_the_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"{name}: expected the path of a readable file"):
        Database(f"postgresql://localhost/name?{name}={tmp_path}/none.pem")


async def test_the_server_knows_the_application_and_its_options(plain: Postgres) -> None:
    url = plain.url("postgres")
    assert await answer(url, "SELECT current_setting('application_name')") == "json-gateway"
    assert await answer(f"{url}?application_name=chat", "SELECT current_setting('application_name')") == "chat"
    assert await answer(f"{url}?options=-c%20search_path%3Dchat", "SELECT current_setting('search_path')") == "chat"


@pytest.fixture
async def silent(plain: Postgres) -> AsyncIterator[Proxy]:
    """A network to the server that can swallow everything."""
    async with Proxy(plain.port) as proxy:
        yield proxy


async def test_a_host_that_says_nothing_leaves_time_for_the_next_and_is_asked_last_from_then_on(
    plain: Postgres, silent: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 4)
    silent.swallows = True
    database = Database(f"postgresql://postgres@127.0.0.1:{silent.port},127.0.0.1:{plain.port}/postgres")
    try:
        await database.ping()
        assert silent.opened == 1
        database._postgresql.renew(at_once=True)  # type: ignore[union-attr] # it is one
        await database.ping()
        assert silent.opened == 1
    finally:
        await database.close()


async def test_when_all_connections_go_silent_one_question_finds_out_for_all(
    plain: Postgres, silent: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 2)
    database = Database(f"postgresql://postgres@127.0.0.1:{silent.port},127.0.0.1:{plain.port}/postgres")
    try:
        for _ in range(2):
            await database.ping()
        silent.swallows = True
        monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
        with pytest.raises(StoreUnavailable):
            await database.ping()
        monkeypatch.setattr(engine, "BUSY_SECONDS", 5)
        for _ in range(3):
            await database.ping()
    finally:
        await database.close()
