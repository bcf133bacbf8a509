"""No output has any part of a URL's user name or password, whether the URL is right or wrong."""

import asyncio
import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.bus.build import check_bus
from gateway.cli.store import redacted_store_url
from gateway.config.settings import Settings, load_settings
from gateway.core.start_error import StartError
from gateway.store.engine import Database, StoreUnavailable
from tests.gateway.cli.command import Result
from tests.gateway.cli.conftest import RunHere

pytestmark = pytest.mark.server

FIRST, LAST = "hUnTeR", "sWoRdFiSh"
"""The beginning and the end of each password. The test searches all output for both."""

USER = "aNnIe"

SPECIAL = ["@", "/", ":", "#", "?", "%", "%4", "%zz", "%ff", "%00", "[", "]", "[::1]", " ", "\n", "\t", "é", "%C3%A9"]
SPECIAL += [
    "\u2100",
    "\ud800",
    "//",
    "@@",
    "@localhost:1/",
    ":1/",
    "?sslmode=",
    "&",
    "=",
    "+",
    "\\",
    "'",
    '"',
    ",",
    "{}",
]

SCHEMES = ["postgresql", "postgres", "postgresql+asyncpg", "postgresq", "mysql", "sqlite", ""]
BUS_SCHEMES = ["redis", "rediss", "redis+sentinel", "redis+cluster", "redi", "memory", ""]
HOSTS = [
    "127.0.0.1:1",
    "127.0.0.1:port",
    "127.0.0.1:99999",
    "[::1",
    "[::1]:1,127.0.0.1:1",
    "a..b",
    "x" * 70,
    "127.0.0.1:1,",
]
ENDS = ["", "/name", "/0", "/na%zzme", "/name?sslmode=always", "/name?sslmode=verify-full&sslrootcert=/none"]
ENDS += ["/name?nothing=1", "?nothing", "/name#end", "/name?connect_timeout=x", "/name?channel_binding=require"]

passwords = st.one_of(
    st.sampled_from(SPECIAL),
    st.lists(st.sampled_from(SPECIAL), min_size=2, max_size=4).map("".join),
    st.text(max_size=8),
).map(lambda middle: f"{FIRST}{middle}{LAST}")
encoded = st.booleans()


class Output(io.StringIO):
    """All output and all log lines, at every level."""


@contextmanager
def everything_written() -> Iterator[Output]:
    output = Output()
    handler = logging.StreamHandler(output)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(output), redirect_stderr(output):
            yield output
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def url(scheme: str, password: str, host: str, end: str) -> str:
    return f"{scheme}://{USER}:{password}@{host}{end}"


def expect_no_secret(output: Output) -> None:
    text = output.getvalue()
    for secret in (FIRST, LAST, USER):
        assert secret.lower() not in text.lower(), text


async def try_database(text: str) -> None:
    database = Database(text)
    try:
        async with asyncio.timeout(20):
            await database.upgrade()
    finally:
        await database.close()


def try_all(output: Output, **values: str) -> None:
    """Use the settings as a start does, and record what an operator would see at its end."""
    try:
        given = load_settings(_env_file=None, **values)
        print(repr(given), redacted_store_url(given), file=output)
        if "database_url" in values:
            asyncio.run(try_database(given.store_url))
        else:
            asyncio.run(check_bus(given))
    except (StartError, StoreUnavailable) as error:
        print("".join(traceback.format_exception(error)), file=output)


quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.sampled_from(SCHEMES), passwords, st.sampled_from(HOSTS), st.sampled_from(ENDS), encoded)
@example("postgresql", f"{FIRST}@{LAST}", "127.0.0.1:1", "/name", False)
@example("postgresql", f"{FIRST}#{LAST}", "127.0.0.1:1", "/name", False)
@example("postgresql", f"{FIRST}%ff{LAST}", "127.0.0.1:1", "/name", False)
@example("postgresql", f"{FIRST}\u2100{LAST}", "127.0.0.1:1", "/name", False)
@example("postgresql", f"{FIRST}:1/{LAST}", "127.0.0.1:1", "/name", True)
def test_of_a_database(
    monkeypatch: pytest.MonkeyPatch, scheme: str, password: str, host: str, end: str, encoded: bool
) -> None:
    if encoded:
        password = quote(password, safe="", errors="surrogatepass")
    with everything_written() as output:
        try_all(output, database_url=url(scheme, password, host, end))
    expect_no_secret(output)


@quick
@given(st.sampled_from(BUS_SCHEMES), passwords, st.sampled_from(HOSTS), st.sampled_from(ENDS), encoded)
@example("redis+sentinel", f"26379/{LAST}", "cache", "", False)
@example("redis", f"{FIRST}@{LAST}", "127.0.0.1:1", "/0", False)
@example("rediss", f"{FIRST}?ssl_ca_certs={LAST}", "127.0.0.1:1", "/0", False)
def test_of_a_bus(
    monkeypatch: pytest.MonkeyPatch, scheme: str, password: str, host: str, end: str, encoded: bool
) -> None:
    if encoded:
        password = quote(password, safe="", errors="surrogatepass")
    with everything_written() as output:
        try_all(output, bus_url=url(scheme, password, host, end))
    expect_no_secret(output)


@pytest.mark.parametrize("name", ["issuers", "introspection"])
@pytest.mark.parametrize("middle", ["", *SPECIAL])
def test_of_an_outside_service(name: str, middle: str) -> None:
    address = url("https", f"{FIRST}{middle}{LAST}", "login.example.com", "/keys")
    described = {"issuer": "i", "audience": "a", "jwks_url": address, "url": address, "client_id": "c"}
    with everything_written() as output:
        values: dict[str, Any] = {"_env_file": None, name: {"other": described}}
        for read in (load_settings, Settings):
            with pytest.raises((StartError, ValueError)) as refused:
                read(**values)
            print("".join(traceback.format_exception(refused.value)), file=output)
    expect_no_secret(output)


def test_settings_that_an_application_makes_itself_do_not_quote_what_is_wrong_with_them() -> None:
    wrong = [{"database_url": f"mysql://{USER}:{FIRST}@host"}, {"bus_url": f"amqp://{USER}:{FIRST}@host"}]
    for each in wrong:
        values: dict[str, Any] = {"_env_file": None, **each}
        with pytest.raises(ValueError, match="expected") as refused:
            Settings(**values)
        assert FIRST not in str(refused.value)


def expect_one_line(ended: Result, middle: str) -> None:
    assert ended.status == 1
    for secret in (FIRST, LAST, USER, "Traceback"):
        assert secret not in ended.out + ended.err
    assert ("percent-encoded" in ended.err) == (middle in "@/")
    assert len([line for line in ended.err.splitlines() if line.startswith("gateway: ")]) == 1


@pytest.mark.parametrize("words", [("db", "upgrade"), ("users", "list"), ("token", "alice")])
@pytest.mark.parametrize("middle", ["@", "/", "%C3%A9"])
def test_of_a_command(tmp_path: Path, run_here: RunHere, words: tuple[str, ...], middle: str) -> None:
    address = url("postgresql", f"{FIRST}{middle}{LAST}", "127.0.0.1:1", "/name")
    expect_one_line(run_here(tmp_path, *words, GATEWAY_DATABASE_URL=address), middle)


@pytest.mark.parametrize("middle", ["@", "%C3%A9"])
def test_of_a_server_that_does_not_start(tmp_path: Path, run_here: RunHere, middle: str) -> None:
    address = url("postgresql", f"{FIRST}{middle}{LAST}", "127.0.0.1:1", "/name")
    serve = ("serve", "--port", "0", "--log-level", "debug")
    expect_one_line(run_here(tmp_path, *serve, GATEWAY_DATABASE_URL=address), middle)


async def test_of_a_user_that_the_server_does_not_know(postgres: str, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(f"postgresql://{USER}:{FIRST}@{postgres.partition('@')[2]}")
    with pytest.raises(StoreUnavailable) as refused:
        await database.upgrade()
    await database.close()
    assert caplog.messages == [
        "the store is not available: the server refuses this user (28000);"
        " check the user name, the password and its rights"
    ]
    assert USER not in "".join(traceback.format_exception(refused.value))
