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
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def requirements() -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["build-system"]["requires"])
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    for extra in chain(PROJECT["project"]["optional-dependencies"].values(), PROJECT["dependency-groups"].values()):
        yield from map(Requirement, extra)


def test_constraints_are_names_and_versions_alone() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize("required", list(requirements()), ids=str)
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


def test_development_dependencies_are_listed_once() -> None:
    listed = [canonicalize_name(required.name) for required in requirements()]
    development = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependency-groups"]["dev"]}
    repeated = {name for name in development if listed.count(name) > 1}
    # The extra `standard` of FastAPI is for `fastapi dev` alone, and hatchling also builds the package.
    assert repeated == {"fastapi", "hatchling"}
