"""The steps of the Dockerfile, run one by one without an engine, and what they make: a gateway as the first process.

This machine's own system stands in for the base image, below a layer that goes away.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.defaults import PORT, ROOT, USER
from tests.deploy.dockerfile import in_context, stages
from tests.gateway.cli.command import Output
from tests.support.lacking import lacking, program

pytestmark = pytest.mark.server

WAIT_SECONDS = 60
BUILD, IMAGE = stages()
PYTHON = f"{sys.base_prefix}/bin"
PATH = f"{PYTHON}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEY = "kY7w-3pXc9ZtQ2vLr8mNs4dFg6hJb1aE"


def shell(commands: list[str], variables: list[str]) -> str:
    """Return one command for several, with these variables."""
    return " && ".join([*(f"export {each.replace('$PATH', PATH)}" for each in variables), *commands])


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a build sees."""
    folder = tmp_path_factory.mktemp("context")
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True, timeout=WAIT_SECONDS)
    for path in filter(in_context, tracked.splitlines()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


class Container:
    """A process in namespaces of its own."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._root = folder / "image"
        assert process.stdout is not None
        self.output = Output(process.stdout)

    def expect(self, line: str) -> None:
        """Wait for a line, also while the image is being built."""
        until = time.monotonic() + 10 * WAIT_SECONDS
        while line not in self.output.text:
            assert self.process.poll() is None, self.output.text[-3000:]
            assert time.monotonic() < until, self.output.text[-3000:]
            time.sleep(0.1)

    @property
    def first(self) -> int:
        """The number of its first process, as this machine counts."""
        [children] = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return int(children.read_text())

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the first process, as its user."""
        enter = ["nsenter", f"--target={self.first}", "--mount", "--pid", "--net", "chroot", str(self._root)]
        rights = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
        variables = [each.replace("$PATH", PATH) for each in IMAGE.variables]
        return subprocess.run(
            [*enter, *rights, "env", "-i", *variables, "--chdir=/data", *command],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )


@pytest.fixture(scope="module")
def container(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image's command, after all steps."""
    if os.geteuid() != 0:
        lacking("needs root, for namespaces and mounts")
    folder = tmp_path_factory.mktemp("image")
    variables = [each.replace("$PATH", PATH) for each in IMAGE.variables]
    settings = [f"GATEWAY_SECRET_KEY={KEY}", "GATEWAY_PLAIN_HTTP=true"]
    command = [*IMAGE.words("ENTRYPOINT"), *IMAGE.words("CMD")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTHON"))}
    process = subprocess.Popen(
        [
            *(program("unshare", "util-linux"), "--mount", "bash", str(ROOT / "tests/deploy/image.sh")),
            *(str(folder), str(context)),
            *(shell(BUILD.all("RUN"), BUILD.variables), shell(IMAGE.all("RUN"), [])),
            *("-i", *variables, *settings, *command),
        ],
        env=inherited | {"PATH": PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    container = Container(process, folder)
    try:
        container.expect("Terminal")
        yield container
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        container.output.close()


def test_its_health_check_passes_while_it_serves(container: Container) -> None:
    done = container.run(*IMAGE.health_check)
    assert done.returncode == 0, done.stderr
    ready = f"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:{PORT}/readyz').read())"
    assert '"status":"ready"' in container.run("python", "-c", ready).stdout


def test_it_has_no_rights_and_can_write_in_its_folder_alone(container: Container) -> None:
    assert container.run("id", "--user").stdout.strip() == str(USER)
    status = Path(f"/proc/{container.first}/status").read_text()
    assert "NSpid:\t" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "CapEff:\t0000000000000000" in status
    for place in ("/opt/gateway/x", "/tmp/x", "/etc/x", "/x"):
        assert container.run("touch", place).returncode != 0, place
    assert container.run("touch", "/data/x").returncode == 0
    assert container.run("find", "/opt/gateway", "-writable", "-not", "-type", "l").stdout == ""


def test_a_command_beside_it_adds_a_user(container: Container) -> None:
    added = container.run("sh", "-c", f"echo {shlex.quote('correct horse battery staple')} | gateway users add alice")
    assert (added.returncode, added.stdout) == (0, "added alice\n"), added.stderr


def test_sigterm_reaches_it_and_it_ends_in_order(container: Container) -> None:
    os.kill(container.first, signal.SIGTERM)
    assert container.process.wait(WAIT_SECONDS) == 0
    container.output.close()
    assert "Application shutdown complete" in container.output.text
    assert "Traceback" not in container.output.text
