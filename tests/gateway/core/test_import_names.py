"""A project with `handlers` or `schemas` of its own learns which file is in the way, however it starts the gateway."""

from pathlib import Path
from typing import cast

import pytest

from gateway.core.import_names import find_hidden
from gateway.testing import Gateway
from tests.gateway.cli.command import PYTEST, python, serving
from tests.support.client import App

pytestmark = pytest.mark.server

REMEDY = "put your code into one package with a name of its own"
ROOT = str(Path(__file__).parents[3])


def lines_of(folder: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Run Python in a folder; return its exit status and the lines that it wrote."""
    done = python(folder, *arguments, **variables)
    return done.status, done.out.splitlines() + done.err.splitlines()


def hides_ours(place: Path, name: str) -> str:
    return f"{place} hides the gateway's own package `{name}`; {REMEDY}"


def hidden_by_ours(place: Path, name: str) -> str:
    return f"the gateway's own package `{name}` hides {place}; {REMEDY}"


@pytest.fixture(params=["handlers.py", "handlers/__init__.py", "schemas.py"])
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A module of the project with the name of one of the gateway's."""
    path = tmp_path / cast(str, request.param)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine = 1\n")
    return path


def name_of(module: Path) -> str:
    return (module.parent if module.name == "__init__.py" else module).stem


def test_a_module_before_ours_stops_the_import_with_a_line(module: Path, tmp_path: Path) -> None:
    told = hides_ours(module, name_of(module))
    assert lines_of(tmp_path, "-m", "gateway", "--version") == (1, [f"gateway: {told}"])
    for arguments in (
        ("-c", "import gateway"),
        ("-c", f"import {name_of(module)}, gateway.app"),
        ("-m", "uvicorn", "gateway.asgi:app"),
    ):
        status, lines = lines_of(tmp_path, *arguments)
        assert (status, lines[-1]) == (1, f"ImportError: {told}")


def test_pytest_tells_it_too(module: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("import gateway.app\n")
    status, lines = lines_of(tmp_path, *PYTEST, "test_mine.py")
    assert status == 2
    assert f"E   ImportError: {hides_ours(module, name_of(module))}" in lines


def test_a_module_that_workers_would_find_before_ours_is_named(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert find_hidden() == hides_ours(module, name_of(module))


def test_gateway_serve_refuses_to_start_where_its_workers_would_find_another_module(tmp_path: Path) -> None:
    module = tmp_path / "handlers.py"
    module.touch()
    # As the installed command does it: the folder is not on the path until `serve` puts it there.
    command = "import sys; sys.argv = ['gateway', 'serve', '--port', '0']; from gateway.cli import main; main()"
    assert lines_of(tmp_path, "-P", "-c", command) == (1, [f"gateway: {hides_ours(module, 'handlers')}"])


def test_a_module_behind_ours_is_told_once_and_the_gateway_goes_on(module: Path, tmp_path: Path) -> None:
    behind = f"import sys; sys.path.append({str(tmp_path)!r})"
    program = f"{behind}; import gateway, handlers, schemas; from {find_hidden.__module__} import *; find_hidden()"
    assert lines_of(tmp_path, "-P", "-c", program) == (0, [hidden_by_ours(module, name_of(module))])


async def test_a_folder_without_init_gives_way_and_the_gateway_serves(tmp_path: Path) -> None:
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "mine.py").touch()
    (tmp_path / "schemas").mkdir()  # has no Python in it
    with serving(tmp_path, forks=False) as served:
        async with App(cast(Gateway, served)) as app, app.connect("alice") as client:
            await client.ask("ping")
        text = served.output.text
    assert text.count(hidden_by_ours(tmp_path / "handlers", "handlers")) == 1
    assert "schemas" not in text


def test_ours_alone_is_silent_also_in_the_sources_and_beside_another_copy(tmp_path: Path) -> None:
    for name in ("gateway", "handlers", "schemas"):
        (tmp_path / name).symlink_to(Path(ROOT) / name)
    for folder in (tmp_path, Path(ROOT)):
        status, lines = lines_of(folder, "-m", "gateway", "--version", PYTHONPATH=ROOT)
        assert (status, len(lines)) == (0, 1)
        assert lines[0].startswith("json-gateway ")
