"""An application that installs the wheel: mypy and pyright know our types in it."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.mypy import OPTIONS, mypy

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = 240
OFFLINE = ("--no-deps", "--no-index", "--no-compile")

pytestmark = pytest.mark.server

WRONG = '''\
"""A handler that returns the wrong type."""

from dice.handlers import Roll, Rolled
from handlers.base import MsgHandler


class WrongHandler(MsgHandler[Roll, Rolled]):
    schema = Roll

    async def handle(self, data: Roll) -> Rolled:
        return Roll(room="lobby")
'''


def run(*command: str | Path, cwd: Path, check: bool = True) -> str:
    done = subprocess.run(command, cwd=cwd, check=check, capture_output=True, text=True, timeout=WAIT_SECONDS)
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel of this project, and with its dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    for project in (ROOT, ROOT / "clients/python"):
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=project)
    client, wheel = sorted(folder.glob("*.whl"), key=lambda path: "client" not in path.name)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", *OFFLINE, client, wheel, cwd=folder)
    # The dependencies come from this environment. Python reads no `.pth` file there, so our source is not among them.
    [packages] = folder.glob("venv/lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the example application, and with one mistake."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "tests" / "dice", folder / "dice", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (folder / "dice").glob("*.py"):
        file.write_text(file.read_text().replace("tests.dice", "dice"))
    (folder / "dice" / "wrong.py").write_text(WRONG)
    return folder


def test_the_wheel_says_that_it_is_typed(python: Path, tmp_path: Path) -> None:
    names = ("gateway", "gateway_client", "handlers", "schemas")
    program = f"import {', '.join(names)}; print({', '.join(f'{name}.__file__' for name in names)})"
    for file in map(Path, run(python, "-c", program, cwd=tmp_path).split()):
        assert file.is_relative_to(python.parents[1])
        assert file.with_name("py.typed").exists()


def test_mypy_finds_the_one_mistake(python: Path, project: Path) -> None:
    found = mypy(project, *OPTIONS, "--output", "json", "--python-executable", python, "dice")
    [error] = map(json.loads, found.stdout.splitlines())
    assert (error["file"], error["line"], error["code"]) == ("dice/wrong.py", 11, "return-value")


def test_pyright_finds_the_one_mistake(python: Path, project: Path) -> None:
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = (sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", python, "dice")
    found = json.loads(run(*command, cwd=project, check=False))["generalDiagnostics"]
    [error] = [each for each in found if each["severity"] == "error"]
    assert Path(error["file"]).name == "wrong.py"
    assert (error["range"]["start"]["line"], error["rule"]) == (10, "reportReturnType")
