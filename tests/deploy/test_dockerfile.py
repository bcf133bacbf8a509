"""The Dockerfile and what goes into its build, as far as this can be read; `tests/deploy/test_image.py` builds it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from tests.deploy.defaults import PORT, ROOT, USER
from tests.deploy.dockerfile import TEXT, in_context, stages

pytestmark = pytest.mark.server

WAIT_SECONDS = 60


IMAGE = stages()[-1]


def test_hadolint_finds_nothing() -> None:
    lint = [
        str(Path(sys.executable).with_name("hadolint")),
        "--strict-labels",
        "--failure-threshold=style",
        "Dockerfile",
    ]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_stages_have_one_python_of_one_version() -> None:
    [build, run] = re.findall(r"^FROM (\S+)", TEXT, re.M)
    assert build == run
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", run)


def test_the_gateway_is_the_first_process_and_has_no_rights() -> None:
    assert IMAGE.words("ENTRYPOINT") == ["gateway"]
    assert IMAGE.words("CMD") == ["serve", "--host", "0.0.0.0"]
    assert IMAGE.all("USER") == [f"{USER}:{USER}"]
    assert IMAGE.all("STOPSIGNAL") == ["SIGTERM"]
    assert IMAGE.words("VOLUME") == ["/data"]
    assert IMAGE.all("EXPOSE") == [str(PORT)]
    assert f"('127.0.0.1', {PORT})" in IMAGE.health_check[-1]
    assert "GET /healthz " in IMAGE.health_check[-1]


def test_no_secret_is_built_in() -> None:
    variables = re.findall(r"(GATEWAY_\w+)=", TEXT)
    assert set(variables) == {"GATEWAY_ENVIRONMENT", "GATEWAY_DATA_DIR"}
    assert "ARG " not in TEXT


def test_it_names_the_version_of_the_gateway() -> None:
    assert set(re.findall(r"json-gateway:(\S+)", TEXT)) == {__version__}


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".git/config", ".venv/bin/python", "data/secret_key", "data/gateway.db", "gateway/.env", "id_rsa"),
        *("tests/conftest.py", "tests/node/node_modules/x.js", "gateway/__pycache__/app.pyc", "benchmarks/rig.py"),
        *("clients/python/data/keys/k.pem", "clients/kotlin/pom.xml", "deploy/data/x", "dist/old.whl"),
    ],
)
def test_a_build_does_not_see(path: str) -> None:
    assert not in_context(path)


def test_a_build_sees_all_that_the_wheel_is_made_of() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SECONDS)
    seen = {path for path in tracked.stdout.splitlines() if in_context(path)}
    assert {path.split("/")[0] for path in seen} >= {"gateway", "handlers", "schemas", "clients", "deploy"}
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", ".env.example"} <= seen
    folders = ("gateway/", "handlers/", "schemas/", "clients/python/", "clients/stories/", "clients/javascript/")
    assert {path for path in tracked.stdout.splitlines() if path.startswith(folders)} <= seen
