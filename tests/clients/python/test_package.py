"""The distribution of the client: its version, its dependencies and its types."""

import ast
import sys
import tomllib
from pathlib import Path

import gateway
import gateway_client

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "clients/python"
LIBRARIES = {"gateway_client", "pydantic", "websockets"}


def test_it_has_the_version_and_the_license_of_the_gateway() -> None:
    assert gateway_client.__version__ == gateway.__version__
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_it_imports_its_dependencies_and_python_alone() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert {line.split(">=")[0] for line in project["dependencies"]} == LIBRARIES - {"gateway_client"}
    for file in (CLIENT / "gateway_client").rglob("*.py"):
        imported = {name.split(".")[0] for name in names(ast.parse(file.read_text()))}
        assert imported <= LIBRARIES | sys.stdlib_module_names, file


def names(module: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.append(node.module or "")
    return found
