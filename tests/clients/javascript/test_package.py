"""The package `gateway-client`: what npm packs, how small it is, and what TypeScript says of it."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import __version__
from tests.support.node import environment, npm, tool

PACKAGE = Path(__file__).parents[3] / "clients/javascript"
HERE = Path(__file__).parent
MOST_BYTES = 6000
WAIT_SECONDS = 60

pytestmark = pytest.mark.server

TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "target": "es2022",
        "lib": ["es2023", "dom"],
        "module": "nodenext",
        "types": [],
        "skipLibCheck": False,
    },
}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def about() -> dict[str, object]:
    found: dict[str, object] = json.loads((PACKAGE / "package.json").read_text())
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of TypeScript that has installed the package, as npm packs it."""
    folder = tmp_path_factory.mktemp("program")
    run(*npm(), "pack", "--silent", "--offline", "--pack-destination", str(folder), str(PACKAGE), cwd=folder)
    [archive] = folder.glob("*.tgz")
    shutil.unpack_archive(archive, folder / "packed", filter="data")
    (folder / "node_modules").mkdir()
    (folder / "packed/package").rename(folder / "node_modules/gateway-client")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    return folder


def test_npm_packs_the_modules_and_their_types_and_nothing_else(installed: Path) -> None:
    packed = {path.name for path in (installed / "node_modules/gateway-client").iterdir()}
    modules = {f"{name}{kind}" for name in ("gateway-client", "react", "room-view") for kind in (".js", ".d.ts")}
    assert packed == {"package.json", "README.md", "LICENSE", "messages.d.ts", *modules}


def test_it_has_the_gateways_version_and_no_dependency() -> None:
    package = about()
    assert str(package["version"]).replace("-rc.", "rc") == __version__  # npm writes 1.0.0rc1 as 1.0.0-rc.1
    assert "dependencies" not in package
    assert (PACKAGE / "LICENSE").read_bytes() == (PACKAGE.parents[1] / "LICENSE").read_bytes()
    assert not re.search(r"^import ", (PACKAGE / "gateway-client.js").read_text(), re.MULTILINE)


def test_it_stays_small() -> None:
    minified = run(tool("terser"), "gateway-client.js", "--module", "--compress", "--mangle", cwd=PACKAGE)
    size = len(gzip.compress(minified.encode(), 9))
    assert size <= MOST_BYTES, f"{size} bytes, which is {size - MOST_BYTES} too many"


def test_its_types_help_and_refuse_mistakes(installed: Path) -> None:
    shutil.copy(HERE / "types.ts", installed)
    run(tool("tsc"), "--project", ".", cwd=installed)


def test_its_types_need_no_dom(installed: Path) -> None:
    """React Native has no DOM. What the types name of it, all platforms have."""
    names = (PACKAGE / "gateway-client.d.ts").read_text()
    for name in ("Document", "Window", "HTMLElement", "MessageEvent", "CloseEvent"):
        assert name not in names
