"""The values of `GATEWAY_BUS_URL`."""

import pytest

from gateway.config.bus_url import BusUrl, parse
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError

GOOD = {
    "redis://cache": BusUrl("single", False, (("cache", 6379),)),
    "redis://app:s%40cret@10.0.0.1:7000/3": BusUrl(
        "single", False, (("10.0.0.1", 7000),), database=3, username="app", password="s@cret"
    ),
    "rediss://:secret@[::1]:7000": BusUrl("single", True, (("::1", 7000),), password="secret"),
    "rediss://cache?ssl_ca_certs=/etc/ca.pem": BusUrl(
        "single", True, (("cache", 6379),), options={"ssl_ca_certs": "/etc/ca.pem"}
    ),
    "redis+sentinel://a,b:7000/main": BusUrl("sentinel", False, (("a", 26379), ("b", 7000)), service="main"),
    "redis+sentinel://:secret@a/main/2?sentinel_password=other": BusUrl(
        "sentinel",
        False,
        (("a", 26379),),
        service="main",
        database=2,
        password="secret",
        options={"sentinel_password": "other"},
    ),
    "rediss+cluster://a:7000,b": BusUrl("cluster", True, (("a", 7000), ("b", 6379))),
}

BAD = {
    "amqp://app:hunter2@cache": "expected memory://, redis://host:6379/0,",
    "redis:cache": "expected memory://,",
    "redis://": "expected memory://,",
    "redis://:hunter2@": "expected memory://,",
    "redis://cache:hunter2": "expected memory://,",
    "redis://:hun/ter2@cache": "expected the special characters in the user name and the password percent-encoded",
    "redis://:hunter2@more@cache": "expected the special characters",
    "redis+sentinel://app:26379/hunter2@cache": "expected the special characters",
    "redis://:hunter2%@cache": "expected the special characters",
    "redis://:hunter2 @cache": "expected the special characters",
    "redis://[::1": "expected memory://,",
    "redis+mirror://cache": "expected memory://,",
    "redis://a,b": "expected one host",
    "redis://cache/hunter2": "expected a database number or nothing",
    "redis://cache/-1": "expected a database number or nothing",
    "redis://cache?password=hunter2": "expected nothing",
    "rediss://cache?ssl_cert_reqs=none": "expected at most ssl_ca_certs",
    "redis+cluster://cache/3": "expected no database",
    "redis+sentinel://a,b": "expected the name of the service",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_url_says_which_servers_of_what_kind_and_which_user(text: str) -> None:
    assert parse(text) == GOOD[text]
    assert "secret" not in repr(parse(text)) + parse(text).place


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_url_stops_the_start_with_one_line_that_has_none_of_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_BUS_URL", text)
    with pytest.raises(StartError) as refused:
        load_settings()
    line = str(refused.value)
    assert line.startswith(f"GATEWAY_BUS_URL: {BAD[text]}")
    assert "\n" not in line
    assert "hunter2" not in line


def test_settings_do_not_show_the_url_which_may_have_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_BUS_URL", "redis://:hunter2@cache")
    assert "hunter2" not in repr(load_settings())
