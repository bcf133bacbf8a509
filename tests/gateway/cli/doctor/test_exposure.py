"""Gateways that show the network too much."""

from typing import Any

import pytest

from gateway.cli.doctor.findings import Verdict
from tests.gateway.cli.doctor.conftest import Look, bad, worst

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("origins", "verdict"),
    [
        ("http://app.example.com", Verdict.PROBLEM),
        ("https://a.example.com,http://b.example.com", Verdict.PROBLEM),
        ("http://localhost:3000", Verdict.WARNING),
        ("http://127.0.0.1:5173", Verdict.WARNING),
    ],
)
def test_origins_that_do_not_belong_into_production(look: Look, origins: str, verdict: Verdict) -> None:
    found = bad(look("origins", allowed_origins=origins))
    assert found.verdict is verdict
    assert found.change.startswith("GATEWAY_ALLOWED_ORIGINS=")
    assert "http://" not in found.change
    assert worst(look("origins", allowed_origins=origins, environment="development")) is Verdict.OK


@pytest.mark.parametrize("origins", ["", "https://app.example.com", "https://*.example.com,file://"])
def test_origins_that_are_fine(look: Look, origins: str) -> None:
    assert worst(look("origins", allowed_origins=origins)) is Verdict.OK


@pytest.mark.parametrize(
    ("changes", "subject", "verdict"),
    [
        ({"environment": "development"}, {"host": "0.0.0.0"}, Verdict.PROBLEM),
        ({"environment": "development"}, {"host": "::"}, Verdict.PROBLEM),
        ({"environment": "development"}, {"url": "https://chat.example.com"}, Verdict.PROBLEM),
        ({}, {"host": "0.0.0.0"}, Verdict.PROBLEM),
        ({"plain_http": True}, {"host": "10.0.0.5"}, Verdict.WARNING),
        ({}, {"url": "http://chat.example.com"}, Verdict.PROBLEM),
        ({"registration": "open"}, {}, Verdict.WARNING),
        ({"metrics_token": "aaaaaaaaaaaaaaaaaaaa"}, {}, Verdict.WARNING),
    ],
)
def test_a_gateway_that_is_too_open(look: Look, changes: Any, subject: Any, verdict: Verdict) -> None:
    found = bad(look("exposure", subject=subject, **changes))
    assert found.verdict is verdict
    assert "aaaaaaaa" not in found.found + found.change


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, {}),
        ({"environment": "development"}, {}),
        ({"environment": "development"}, {"host": "::1", "url": "http://localhost:8000"}),
        ({"trusted_proxies": "10.0.0.5"}, {"host": "0.0.0.0", "url": "https://chat.example.com"}),
        ({"metrics_token": "q8Yb3vRk1Zt6Wn9Xc2Lm5"}, {}),
    ],
)
def test_a_gateway_that_is_not(look: Look, changes: Any, subject: Any) -> None:
    assert worst(look("exposure", subject=subject, **changes)) is Verdict.OK


@pytest.mark.parametrize("proxies", ["0.0.0.0/1,128.0.0.0/1", "2000::/3", "192.0.0.0/2"])
def test_proxies_that_are_the_whole_network(look: Look, proxies: str) -> None:
    assert bad(look("proxies", trusted_proxies=proxies)).verdict is Verdict.PROBLEM


def test_a_heartbeat_that_is_slower_than_proxies(look: Look) -> None:
    assert bad(look("proxies", heartbeat_seconds=90)).change == "GATEWAY_HEARTBEAT_SECONDS=25"
    assert worst(look("proxies", trusted_proxies="10.0.0.0/8")) is Verdict.OK
