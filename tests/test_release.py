"""A release: what `make dist` builds, and that it serves where nothing else of this repository is."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from zipfile import ZipFile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from gateway import __version__
from gateway.http.client_modules import MODULES, TYPES
from gateway.testing import Gateway
from tests.gateway.cli.command import Output
from tests.support.client import App

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = 60
INSTALL_SECONDS = 600
NPM_VERSION = __version__.replace("rc", "-rc.")

PACKAGES = ("gateway/", "handlers/", "schemas/")
SAMPLES = {
    *(".env.example", "compose.yaml", "deploy/Caddyfile", "deploy/nginx.conf"),
    *("deploy/json-gateway.service", "deploy/kubernetes.yaml"),
}
"""What `gateway settings` prints."""
BESIDE = SAMPLES | {"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "constraints.txt", "pyproject.toml"}

SUPPORTED = [
    found[1]
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", line))
]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)


def make(target: str, dist: Path, *variables: str, seconds: float = INSTALL_SECONDS) -> None:
    """Run make, without a look at whether the environment of the tests is new enough."""
    fresh = ("-o", ".venv/.installed-dev", f"BIN={Path(sys.executable).parent}")
    command = ["make", "--silent", target, f"DIST={dist}", *fresh, *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr


def environment() -> dict[str, str]:
    """The environment without a setting of the gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def tracked(*folders: str) -> set[str]:
    """Return the files of this repository below some folders."""
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` has built, in a folder, and beside it the environment of the bill of materials."""
    folder = tmp_path_factory.mktemp("release")
    make("dist", folder / "dist", f"BILL={folder / 'bill'}")
    return folder / "dist"


def wheel(release: Path) -> dict[str, bytes]:
    with ZipFile(release / f"json_gateway-{__version__}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def source(release: Path, name: str) -> dict[str, bytes]:
    root = f"{name}-{__version__}/"
    with tarfile.open(release / f"{name}-{__version__}.tar.gz") as archive:
        files = ((member.name, archive.extractfile(member)) for member in archive.getmembers())
        return {path.removeprefix(root): file.read() for path, file in files if file is not None}


def test_a_release_has_two_distributions_the_npm_package_a_bill_and_checksums(release: Path) -> None:
    named = {f"{name}-{__version__}" for name in ("json_gateway", "json_gateway_client")}
    expected = {f"{name}{kind}" for name in named for kind in (".tar.gz", "-py3-none-any.whl")}
    expected |= {f"gateway-client-{NPM_VERSION}.tgz", f"json_gateway-{__version__}.cdx.json"}
    assert {path.name for path in release.iterdir()} == expected | {"SHA256SUMS"}
    lines = [line.split() for line in (release / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {name: hashlib.sha256((release / name).read_bytes()).hexdigest() for name in expected}


def test_the_wheel_has_the_packages_and_the_samples_and_nothing_else(release: Path) -> None:
    files = {name for name in wheel(release) if ".dist-info/" not in name}
    modules = {f"clients/javascript/{name}" for name in (*MODULES, *TYPES)}
    samples = SAMPLES | modules | tracked("clients/stories")
    assert files == tracked(*PACKAGES) | {f"gateway/samples/{path}" for path in samples}


def test_the_source_has_what_the_wheel_is_made_of_and_nothing_of_the_tests(release: Path) -> None:
    made_by_the_build = {"PKG-INFO", ".gitignore"}
    javascript = tracked("clients/javascript") - tracked("clients/javascript/conformance")
    expected = tracked(*PACKAGES, "clients/stories", "deploy") | BESIDE | javascript
    assert set(source(release, "json_gateway")) - made_by_the_build == expected
    client = {path.removeprefix("clients/python/") for path in tracked("clients/python/gateway_client")}
    assert set(source(release, "json_gateway_client")) - made_by_the_build == client | {
        *("LICENSE", "README.md", "pyproject.toml")
    }


def test_no_secret_and_no_path_of_this_machine_is_in_it(release: Path) -> None:
    marks = re.compile(rb"BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{16}|" + re.escape(str(ROOT).encode()) + rb"/")
    for files in (wheel(release), source(release, "json_gateway"), source(release, "json_gateway_client")):
        for name, content in files.items():
            assert not marks.search(content), name
            assert Path(name).name not in {".env", "secret_key", "gateway.db", "audit.log"}


def test_a_second_build_is_the_same_byte_for_byte(release: Path, tmp_path: Path) -> None:
    make("packages", tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (release / path.name).read_bytes(), path.name


def test_the_source_builds_the_same_wheel(release: Path, tmp_path: Path) -> None:
    with tarfile.open(release / f"json_gateway-{__version__}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    committed = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    folder = tmp_path / f"json_gateway-{__version__}"
    variables = environment() | {"SOURCE_DATE_EPOCH": committed.stdout.strip()}
    subprocess.run(build, cwd=folder, env=variables, check=True, capture_output=True, timeout=WAIT_SECONDS)
    [built] = tmp_path.glob("*.whl")
    assert built.read_bytes() == (release / built.name).read_bytes()


def test_the_bill_of_materials_is_valid_and_has_each_library_at_its_pinned_version(release: Path) -> None:
    text = (release / f"json_gateway-{__version__}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("json-gateway", __version__)
    pins = {canonicalize_name(name): version for name, version in PINS.items()} | {"json-gateway-client": __version__}
    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}
    assert listed == {name: pins[name] for name in listed}
    assert {"fastapi", "uvicorn", "cryptography", "asyncpg", "redis", "json-gateway-client"} <= set(listed)
    assert not {"pytest", "hatchling", "ruff", "pip"} & set(listed)
    depends = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert len(depends[root["bom-ref"]]) > 20
    assert str(release) not in text


def interpreter(version: str) -> Path:
    """Return a Python of this version, or skip the test. A version that a machine lacks is no fault of the machine."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    for found in (*sorted(pyenv.glob(f"{version}.*/bin/python")), *([Path(on_path)] if on_path else [])):
        asked = subprocess.run([found, "-c", "import ssl, sqlite3"], capture_output=True, timeout=WAIT_SECONDS)
        if asked.returncode == 0:  # pyenv has names in the path for versions that are switched off
            return found
    pytest.skip(f"this machine has no Python {version}, neither in the path nor from pyenv")


@pytest.fixture(scope="module", params=SUPPORTED)
def installed(request: pytest.FixtureRequest, release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment with the wheels, on each Python."""
    python = interpreter(request.param)
    if python == Path(sys.executable):
        return release.parent / "bill" / "bin"  # `make dist` has just made it
    folder = tmp_path_factory.mktemp(f"python{request.param}")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, timeout=INSTALL_SECONDS)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet", "--no-compile"]
    command = [*pip, "--constraint", str(ROOT / "constraints.txt"), *map(str, release.glob("*.whl"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment())
    assert done.returncode == 0, done.stderr
    return folder / "bin"


class Installed:
    """`gateway serve` of an installation, in an empty folder and with no setting."""

    def __init__(self, commands: Path, folder: Path) -> None:
        command = [str(commands / "gateway"), "serve", "--port", "0"]
        variables = {"PATH": os.defpath, "HOME": str(folder)}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.output = Output(self.process.stdout)
        self.ws_url = self.output.expect("Terminal").split("chat ")[1].split()[0]
        self.url = self.ws_url.replace("ws://", "http://")


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[Installed]:
    served = Installed(installed, tmp_path)
    yield served
    served.process.kill()
    served.process.wait(WAIT_SECONDS)
    served.output.close()


async def test_an_installation_serves_from_an_empty_folder_to_the_first_message(
    served: Installed, tmp_path: Path
) -> None:
    async with App(cast(Gateway, served)) as app, app.connect("alice") as alice, app.connect("bobby") as bobby:
        await alice.ask("room.join", room="lobby")
        await bobby.ask("room.join", room="lobby")
        await alice.start("chat.send", room="lobby", text="hello")
        heard = await bobby.until(type="chat.message")
        assert heard["data"]["text"] == "hello"
        for path in ("/", "/client/gateway-client.js", "/docs", "/docs/messages", "/readyz"):
            assert (await app.http.get(path)).status_code == 200, path
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(WAIT_SECONDS) == 0
    assert os.listdir(tmp_path) == ["data"]
    assert not re.search("Traceback|ERROR", served.output.text)


def test_an_installation_has_its_version_and_its_samples(installed: Path, tmp_path: Path) -> None:
    def printed(*arguments: str) -> str:
        command = [str(installed / "gateway"), *arguments]
        variables = {"PATH": os.defpath, "HOME": str(tmp_path)}
        return subprocess.check_output(command, cwd=tmp_path, env=variables, text=True, timeout=WAIT_SECONDS)

    assert printed("--version") == f"json-gateway {__version__}\n"
    assert printed("settings") == (ROOT / ".env.example").read_text()
