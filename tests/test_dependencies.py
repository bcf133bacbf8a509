"""The versions of what is installed: bounds in pyproject.toml, and one of each in constraints.txt."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.transport.uvicorn import http, websocket

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())
OURS = {"json-gateway-client"}
"""A distribution of this repository, which is installed from it."""
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def requirements() -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["build-system"]["requires"])
    yield from (each for each in map(Requirement, PROJECT["project"]["dependencies"]) if each.name not in OURS)
    for extra in chain(PROJECT["project"]["optional-dependencies"].values(), PROJECT["dependency-groups"].values()):
        yield from map(Requirement, extra)


def test_constraints_are_names_and_versions_alone() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def requirements_of_the_client() -> Iterator[Requirement]:
    yield from map(Requirement, CLIENT["build-system"]["requires"])
    yield from map(Requirement, CLIENT["project"]["dependencies"])


@pytest.mark.parametrize("required", [*requirements(), *requirements_of_the_client()], ids=str)
def test_every_dependency_is_pinned_within_its_bounds(required: Requirement) -> None:
    pinned = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in LINES)}
    assert required.specifier.contains(pinned[canonicalize_name(required.name)])


@pytest.mark.parametrize("name", ["uvicorn", "websockets"])
def test_a_library_with_internals_in_use_has_an_upper_bound(name: str) -> None:
    [bounds] = [required.specifier for required in requirements() if required.name == name]
    assert bounds.contains(version(name))
    assert any(bound.operator in {"<", "<="} for bound in bounds)


def test_the_installed_libraries_are_supported() -> None:
    assert websocket.supported()
    assert http.supported()


def test_the_gateway_takes_a_client_of_its_own_version() -> None:
    [required] = [each for each in map(Requirement, PROJECT["project"]["dependencies"]) if each.name in OURS]
    assert required.name == CLIENT["project"]["name"]
    assert required.specifier.contains(version("json-gateway-client"))
    assert version("json-gateway-client") == version("json-gateway")


def test_development_dependencies_are_listed_once() -> None:
    listed = [canonicalize_name(required.name) for required in requirements()]
    development = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependency-groups"]["dev"]}
    repeated = {name for name in development if listed.count(name) > 1}
    # The extra `standard` of FastAPI is for `fastapi dev` alone, and hatchling also builds the package.
    assert repeated == {"fastapi", "hatchling"}
