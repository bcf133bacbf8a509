"""The values of `GATEWAY_DATABASE_URL`: they mean what they mean to PostgreSQL's own clients."""

import pytest

from gateway.config.database_url import EXPECTED, PostgresqlUrl, check, parse, redacted
from gateway.config.settings import load_settings
from gateway.config.url_parts import ENCODE
from gateway.core.start_error import StartError

GOOD = {
    "postgresql://host/name": PostgresqlUrl((("host", 5432),), "name"),
    "postgres://user:secret@10.0.0.1:6432/name": PostgresqlUrl((("10.0.0.1", 6432),), "name", "user", "secret"),
    "postgresql+asyncpg://user:s%40cr%2Fet@db/name": PostgresqlUrl((("db", 5432),), "name", "user", "s@cr/et"),
    "postgresql+psycopg://user:secret:more@db/name": PostgresqlUrl((("db", 5432),), "name", "user", "secret:more"),
    "postgres+psycopg2://user@db/name": PostgresqlUrl((("db", 5432),), "name", "user"),
    "postgresql://user:schlüssel[secret]@[::1]:7/name": PostgresqlUrl(
        (("::1", 7),), "name", "user", "schlüssel[secret]"
    ),
    "postgresql://a,b:7,[::1]/name": PostgresqlUrl((("a", 5432), ("b", 7), ("::1", 5432)), "name"),
    "postgresql:///name?host=a,::1&port=7,8": PostgresqlUrl((("a", 7), ("::1", 8)), "name"),
    "postgresql:///name?host=/run/postgresql": PostgresqlUrl((("/run/postgresql", 5432),), "name"),
    "postgresql://%2Frun%2Fpostgresql:7/name": PostgresqlUrl((("/run/postgresql", 7),), "name"),
    "postgresql://?user=user&password=a+secret&dbname=na%20me": PostgresqlUrl((), "na me", "user", "a+secret"),
}

BAD = {
    "postgresql:host/name": EXPECTED,
    "mysql://user:hunter2@host/name": EXPECTED,
    "postgresql://user:hunter2": EXPECTED,
    "postgresql://user:hunter2@host:port/name": EXPECTED,
    "postgresql://user:hunter2@host:99999/name": EXPECTED,
    "postgresql://user:hunter2@a..b/name": EXPECTED,
    "postgresql://user:hunter2@[::1/name": EXPECTED,
    "postgresql://user:hunter2@host,/name": EXPECTED,
    "postgresql://user:hunter2@host/name?sslmode": EXPECTED,
    "sqlite://user:hunter2@host/name": EXPECTED,
    "postgresql://user:hunter2@host/name#more": ENCODE,
    "postgresql://user:hunter2@more@host/name": ENCODE,
    "postgresql://user:1/hunter2@host/name": ENCODE,
    "postgresql://user:1?hunter2@host/name": ENCODE,
    "postgresql://user:1#hunter2@host/name": ENCODE,
    "postgresql://user:100%hunter2@host/name": ENCODE,
    "postgresql://user:hunter2%ff@host/name": ENCODE,
    "postgresql://user:hunter2%00@host/name": ENCODE,
    "postgresql://user:hunter 2@host/name": ENCODE,
    "postgresql://user:hunter\n2@host/name": ENCODE,
    "postgresql://user:hunter2@host/name\n": ENCODE,
    "postgresql://user:hunter2\udcff@host/name": ENCODE,
    "postgresql://user:hunter2@host/name?sslmode=sometimes": "sslmode: expected disable, allow, prefer, require,",
    "postgresql://user:hunter2@host/name?target_session_attrs=standby": "target_session_attrs: expected any, primary",
    "postgresql://user:hunter2@host/name?connect_timeout=soon": "connect_timeout: expected a number of seconds",
    "postgresql://user:hunter2@host/name?sslmode=disable&channel_binding=require": "channel_binding: expected disable",
    "postgresql://host,host/name?host=a,b,c&port=1,2": "port: expected one number, or one for each",
    "postgresql://host/name?search_path=x&schema=public": "expected parameters that PostgreSQL's own clients accept,"
    " got `schema`, `search_path`;",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_url_says_which_servers_and_which_user_and_shows_no_secret(text: str) -> None:
    assert parse(text) == GOOD[text]
    for output in (repr(parse(text)), parse(text).place, redacted(text)):
        assert "secret" not in output
        assert "user" not in output.replace("user=<", "")


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_url_is_one_line_that_has_none_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|got") as refused:
        check(text)
    assert str(refused.value).startswith(BAD[text])
    assert "hunter" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_wrong_url_stops_the_start_in_the_name_of_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://user:hunter2@more@host/name")
    with pytest.raises(StartError) as refused:
        load_settings()
    assert str(refused.value) == f"GATEWAY_DATABASE_URL: {ENCODE}"


@pytest.mark.parametrize(
    ("parameters", "given"),
    [
        ("", {}),
        ("sslmode=verify-ca&sslrootcert=/ca.pem", {"sslmode": "verify-ca", "sslrootcert": "/ca.pem"}),
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=verify-full", {"sslmode": "verify-full"}),
        ("channel_binding=prefer&gssencmode=disable&client_encoding=UTF8&connect_timeout=3&pgbouncer=true", {}),
        ("target_session_attrs=primary", {"target_session_attrs": "primary"}),
    ],
)
def test_what_the_driver_knows_is_given_to_it_and_nothing_else_is(parameters: str, given: dict[str, str]) -> None:
    assert parse(f"postgresql://host/name?{parameters}").driver_parameters == given


def test_of_several_hosts_the_one_that_takes_writes_is_wanted_if_the_url_does_not_say() -> None:
    assert parse("postgresql://a,b/name").driver_parameters == {"target_session_attrs": "read-write"}
    assert parse("postgresql://a,b/name?target_session_attrs=any").driver_parameters == {"target_session_attrs": "any"}


def test_the_server_is_told_the_application_s_name_and_its_options() -> None:
    assert parse("postgresql://host").server_settings == {"application_name": "json-gateway"}
    assert parse("postgresql://host?application_name=chat&fallback_application_name=other").server_settings == {
        "application_name": "chat"
    }
    assert parse("postgresql://host?options=-c%20search_path%3Dchat").server_settings == {
        "application_name": "json-gateway",
        "options": "-c search_path=chat",
    }


@pytest.mark.parametrize(("text", "seconds"), [("10", 10), ("0", None), ("-1", None)])
def test_a_time_to_connect_of_nothing_is_none(text: str, seconds: float | None) -> None:
    assert parse(f"postgresql://host?connect_timeout={text}").connect_seconds == seconds


@pytest.mark.parametrize("text", ["sqlite:////var/lib/gateway.db", "sqlite+aiosqlite:///gateway.db"])
def test_the_url_of_a_file_is_shown_as_it_is(text: str) -> None:
    check(text)
    assert redacted(text) == text
