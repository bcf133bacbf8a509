"""`deploy/json-gateway.service`, as systemd itself reads it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.defaults import LONGEST_STOP, ROOT, SPARE
from tests.support.lacking import program

pytestmark = pytest.mark.server

TEXT = (ROOT / "deploy/json-gateway.service").read_text()
COMMAND = "/opt/json-gateway/bin/gateway"
WAIT_SECONDS = 60

MOST_EXPOSED = 15
"""In tenths, on systemd's scale from 0 to 10. Its own services have 20 to 90."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that is on this machine."""
    unit = tmp_path / "json-gateway.service"
    unit.write_text(TEXT.replace(COMMAND, "/bin/true"))
    return unit


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS)


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.M)


def test_systemd_reads_each_line(unit: Path) -> None:
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_hardened(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


def test_systemd_finds_mistakes_and_rights(unit: Path) -> None:
    unit.write_text("[Service]\nExecStart=/bin/true\nPrivatTmp=yes\n")
    assert "PrivatTmp" in analyze("verify", unit).stderr
    assert analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit).returncode != 0


def test_a_drain_has_its_time_and_only_the_first_process_gets_the_signal() -> None:
    assert float(values("TimeoutStopSec")[0]) >= LONGEST_STOP + SPARE
    assert values("KillMode") == ["mixed"]


def test_it_serves_as_its_own_user_and_writes_in_its_own_folder() -> None:
    assert values("ExecStart") == [f"{COMMAND} serve"]
    assert values("User") == ["json-gateway"]
    [folder] = values("StateDirectory")
    assert f"GATEWAY_DATA_DIR=/var/lib/{folder}" in TEXT
    assert values("WorkingDirectory") == ["/etc/json-gateway"]


def test_no_secret_is_in_it() -> None:
    assert set(re.findall(r"GATEWAY_\w+=", TEXT)) == {"GATEWAY_ENVIRONMENT=", "GATEWAY_DATA_DIR="}
