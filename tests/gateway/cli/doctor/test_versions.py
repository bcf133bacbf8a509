"""Versions with known faults."""

import sys
from importlib import metadata
from typing import Any

import pytest

from gateway.cli.doctor import versions
from gateway.cli.doctor.findings import Verdict
from gateway.transport.uvicorn import http
from tests.gateway.cli.doctor.conftest import Look, bad, worst

pytestmark = pytest.mark.unit


def test_what_is_installed_here_has_no_known_fault(look: Look) -> None:
    assert worst(look("packages")) is Verdict.OK
    assert worst(look("server")) is Verdict.OK
    assert worst(look("python")) is Verdict.OK


@pytest.mark.parametrize(
    ("name", "version", "change"),
    [
        ("python-multipart", "0.0.30", "pip install 'python-multipart>=0.0.31'"),
        ("starlette", "1.3.0", "pip install 'starlette>=1.3.1'"),
        ("uvicorn", "0.51.0", "pip install 'uvicorn>=0.52.1'"),
        ("h11", "0.15.9", "pip install 'h11>=0.16'"),
        ("orjson", "3.11.5", "pip install 'orjson>=3.11.6'"),
        ("redis", "4.6.0", "pip install 'redis>=5'"),
        ("python-jose", "3.3.0", "pip install 'python-jose>=3.5.0'"),
        ("bcrypt", "5.0.0", "pip install 'bcrypt<5'"),
        ("bcrypt", "5.1", "pip install 'bcrypt<5'"),
    ],
)
def test_a_package_with_a_known_fault(
    look: Look, monkeypatch: pytest.MonkeyPatch, name: str, version: str, change: str
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda asked: version if asked == name else real(asked))
    found = bad(look("packages"))
    assert (found.verdict, found.change) == (Verdict.PROBLEM, change)


@pytest.mark.parametrize("version", ["0.16.0", "0.16", "0.16.1rc1", "1.0"])
def test_a_version_at_its_floor_or_above(look: Look, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda asked: version if asked == "h11" else real(asked))
    assert worst(look("packages")) is Verdict.OK


def test_two_packages_that_overwrite_each_other(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda asked: "1.9.4" if asked == "libpass" else real(asked))
    assert bad(look("packages")).change == "pip uninstall libpass"


@pytest.mark.parametrize(
    ("environment", "verdict"), [("production", Verdict.PROBLEM), ("development", Verdict.WARNING)]
)
def test_protocols_that_do_not_fit(
    look: Look, monkeypatch: pytest.MonkeyPatch, environment: str, verdict: Verdict
) -> None:
    monkeypatch.setattr(http, "supported", lambda: False)
    assert bad(look("server", environment=environment)).verdict is verdict
    assert bad(look("server", environment=environment, allow_uvicorn_protocol=True)).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 10, 9, "final", 0), Verdict.PROBLEM), ((3, 15, 0, "alpha", 1), Verdict.WARNING)]
)
def test_a_python_that_does_not_fit(
    look: Look, monkeypatch: pytest.MonkeyPatch, version: Any, verdict: Verdict
) -> None:
    class Version(tuple):  # type: ignore[type-arg] # as `sys.version_info`
        releaselevel = version[3]

    monkeypatch.setattr(versions, "sys", type("Sys", (), {"version_info": Version(version)}))
    assert bad(look("python")).verdict is verdict
    assert sys.version_info >= versions.OLDEST_PYTHON


@pytest.mark.parametrize(
    ("missing", "verdict"), [("opentelemetry-api", Verdict.PROBLEM), ("opentelemetry-sdk", Verdict.WARNING)]
)
def test_tracing_without_its_packages(
    look: Look, monkeypatch: pytest.MonkeyPatch, missing: str, verdict: Verdict
) -> None:
    assert worst(look("tracing")) is Verdict.OK
    assert worst(look("tracing", tracing="on")) is Verdict.OK
    real = metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = bad(look("tracing", tracing="on"))
    assert found.verdict is verdict
    assert found.change.startswith("pip install")
