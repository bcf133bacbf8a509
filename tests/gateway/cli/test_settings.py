"""`gateway settings` and `gateway --version`: an installation describes itself without its sources."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from gateway import __version__
from gateway.cli.settings import Sample, read_sample
from gateway.http.client_modules import MODULES, TYPES
from tests.gateway.cli.command import WAIT_SECONDS, run
from tests.gateway.cli.conftest import RunHere

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]


def test_it_prints_a_commented_file_to_begin_with(tmp_path: Path, run_here: RunHere) -> None:
    printed = run(tmp_path, "settings")
    assert (printed.status, printed.err) == (0, "")
    assert printed.out == (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(printed.out)
    assert run_here(tmp_path, "db", "upgrade").status == 0


@pytest.mark.parametrize(
    ("sample", "path"),
    [
        ("nginx", "deploy/nginx.conf"),
        ("caddy", "deploy/Caddyfile"),
        ("systemd", "deploy/json-gateway.service"),
        ("compose", "compose.yaml"),
        ("kubernetes", "deploy/kubernetes.yaml"),
    ],
)
def test_it_prints_what_runs_it_elsewhere(sample: str, path: str, tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "settings", sample).out == (ROOT / path).read_text()


def test_a_wheel_brings_them_along(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=WAIT_SECONDS)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"json_gateway-{__version__}-")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    samples = tmp_path / "installed/gateway/samples"
    assert (samples / ".env.example").read_text() == read_sample(Sample.ENV)
    assert (samples / "compose.yaml").read_text() == read_sample(Sample.COMPOSE)
    assert {path.name for path in (samples / "deploy").iterdir()} == {
        *("nginx.conf", "Caddyfile", "json-gateway.service", "kubernetes.yaml")
    }
    modules = samples / "clients/javascript"
    assert {path.name for path in modules.iterdir()} == {*MODULES, *TYPES}
    for path in modules.iterdir():
        assert path.read_bytes() == (ROOT / "clients/javascript" / path.name).read_bytes()
    stories = {path.name for path in (ROOT / "clients/stories").iterdir()}
    assert {path.name for path in (samples / "clients/stories").iterdir()} == stories


def test_the_version_is_the_one_that_is_installed(run_here: RunHere, tmp_path: Path) -> None:
    assert run_here(tmp_path, "--version").out == f"json-gateway {__version__}\n"
