"""The versions of Python and of the installed packages."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from types import MappingProxyType

from gateway import __version__
from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.transport.uvicorn import http, websocket

OLDEST_PYTHON = (3, 11)

FLOORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "python-jose": ("3.5.0", "CVE-2024-33663, CVE-2024-33664"),
        "python-multipart": ("0.0.31", "CVE-2026-53539: a form can stop the process"),
        "starlette": ("1.3.1", "CVE-2026-54283: limits of forms have no effect"),
        "uvicorn": ("0.52.1", "a client that does not read fills the memory"),
        "websockets": ("13", "CVE-2021-33880, and what uvicorn needs"),
        "h11": ("0.16", "CVE-2025-43859: requests can be smuggled"),
        "httptools": ("0.6", "faults of llhttp"),
        "cryptography": ("50", "known vulnerabilities of older ones"),
        "orjson": ("3.11.6", "deep values overflow its stack"),
        "python-dotenv": ("1.2.2", "a known vulnerability"),
        "idna": ("3.15", "a known vulnerability"),
        "mako": ("1.3.12", "a known vulnerability"),
        "pygments": ("2.20", "a known vulnerability"),
        "redis": ("5", "CVE-2023-28859: a cancelled command gets another's answer"),
        "asyncpg": ("0.30", "PYSEC-2020-24"),
        "ecdsa": ("0.13.3", "CVE-2019-14853"),
        "rsa": ("4.7", "CVE-2020-25658"),
        "pyasn1": ("0.6.2", "CVE-2026-23490"),
    }
)
"""The oldest version of each package without a known fault, and the fault."""

CEILINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"bcrypt": ("5", "passlib 1.7.4 cannot work with it: no log-in succeeds")}
)


def python(subject: Subject) -> Iterator[Finding]:
    """Check that Python is one that the gateway is made for."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield problem(f"Python is {found}, and the gateway needs 3.11 or newer", "install Python 3.11 or newer")
    elif sys.version_info.releaselevel != "final":
        yield warning(f"Python is {found} {sys.version_info.releaselevel}, which is no release", "install a release")
    else:
        yield ok(f"Python is {found}, and json-gateway is {__version__}")


def packages(subject: Subject) -> Iterator[Finding]:
    """Check that no installed package has a known fault."""
    faulty = list(_faulty(_installed()))
    yield from faulty
    if not faulty:
        yield ok(f"none of {len(FLOORS) + len(CEILINGS)} packages has a known fault")


def server(subject: Subject) -> Iterator[Finding]:
    """Check that the gateway's own protocols can serve."""
    if http.supported() and websocket.supported():
        yield ok("uvicorn and websockets are versions that the gateway's protocols build on")
        return
    change = "pip install --upgrade json-gateway  # with the uvicorn and websockets that it names"
    found = "uvicorn's own protocols have to serve, which have no limits for bad clients"
    stops = not subject.settings.development and not subject.settings.allow_uvicorn_protocol
    yield (problem if stops else warning)(found, change)


def tracing(subject: Subject) -> Iterator[Finding]:
    """Check that spans can go somewhere, if the settings ask for them."""
    if subject.settings.tracing != "on":
        yield ok(f"GATEWAY_TRACING is {subject.settings.tracing}")
    elif not _is_installed("opentelemetry-api"):
        yield problem("GATEWAY_TRACING is on without its package", "pip install 'json-gateway[otel]'")
    elif not _is_installed("opentelemetry-sdk"):
        yield warning(
            "GATEWAY_TRACING is on, and nothing is installed that records spans",
            "pip install opentelemetry-distro opentelemetry-exporter-otlp-proto-http",
        )
    else:
        yield ok("GATEWAY_TRACING is on, and OpenTelemetry's SDK is installed")


def _installed() -> dict[str, str]:
    """Return the versions of the packages of the tables that are installed."""
    found = {}
    for name in (*FLOORS, *CEILINGS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _faulty(installed: Mapping[str, str]) -> Iterator[Finding]:
    for name, version in installed.items():
        floor, fault = FLOORS.get(name, ("0", ""))
        if _numbers(version) < _numbers(floor):
            yield problem(f"{name} is {version}: {fault}", f"pip install '{name}>={floor}'")
        ceiling, fault = CEILINGS.get(name, ("", ""))
        if ceiling and _numbers(version) >= _numbers(ceiling):
            yield problem(f"{name} is {version}: {fault}", f"pip install '{name}<{ceiling}'")
    if "passlib" in _distributions() and "libpass" in _distributions():
        yield problem("passlib and libpass are both installed, and overwrite each other", "pip uninstall libpass")


def _distributions() -> set[str]:
    return {name for name in ("passlib", "libpass") if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, so that 0.16.0 is not below 0.16."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].strip(".").split(".") if part]  # type: ignore[index]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
