"""Files in the data folder of another user, as after `sudo gateway …`: the start stops with one line."""

import os
import pwd
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.gateway.cli.command import WAIT_SECONDS, Result, environment
from tests.support.postgres import AS_ROOT

pytestmark = pytest.mark.server

NOBODY = pwd.getpwnam("nobody")

# One process imports everything, perhaps with root's rights, and becomes `nobody` in a child for each folder.
AS_NOBODY = f"""
import encodings.idna, os, pathlib, sys
from gateway.cli import main, run
for data in map(pathlib.Path, sys.argv[1:]):
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        continue
    os.dup2(os.open(f"{{data}}.err", os.O_WRONLY | os.O_CREAT), 2)
    if os.geteuid() == 0:
        os.setgroups([]), os.setgid({NOBODY.pw_gid}), os.setuid({NOBODY.pw_uid})
    os.environ["GATEWAY_DATA_DIR"] = str(data)
    sys.argv = ["gateway", "serve", "--port", "0"]
    try:
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code)  # to take down all that was imported would take longer
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that only its owner may use, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as name:
        give_away(Path(name))
        yield Path(name)


def give_away(path: Path) -> None:
    if AS_ROOT:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def take_away(path: Path) -> None:
    """Leave a file to root, or to `nobody` if root runs the tests."""
    path.chmod(0o600 if AS_ROOT else 0o000)


def data_with(folder: Path, name: str) -> Path:
    """Make a data folder with one file of another user."""
    data = folder / f"with-{name}"
    data.mkdir()
    give_away(data)
    if name == "gateway.db":
        with closing(sqlite3.connect(data / name)) as database:
            database.execute("CREATE TABLE t (x)")
    else:
        (data / name).touch()
    take_away(data / name)
    return data


def serve_each(*folders: Path) -> list[Result]:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *folders],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        env=environment(folders[0]),
        timeout=WAIT_SECONDS,
        check=True,
    )
    return [
        Result(int(status), "", Path(f"{folder}.err").read_text())
        for status, folder in zip(done.stdout.split(), folders, strict=True)
    ]


def test_each_file_that_another_user_owns_is_named_before_anything_listens(folder: Path) -> None:
    names = ["audit.log", "gateway.db", "gateway.db-wal", "gateway.db.lock", "alone.lock", "secret_key"]
    folders = [data_with(folder, name) for name in names]
    (folder / "closed").mkdir(mode=0o500)
    *refused, in_closed = serve_each(*folders, folder / "closed")
    for name, data, result in zip(names, folders, refused, strict=True):
        assert str(data / name) in result.problem
    assert "closed" in in_closed.problem
