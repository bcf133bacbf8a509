"""What other processes of this machine ask a gateway, through its socket in the data folder."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core import faults, local_socket, socket_folder
from gateway.core.file_lock import FileLock
from gateway.core.local_socket import (
    MAX_CONNECTIONS,
    MAX_QUESTION_BYTES,
    LocalFailed,
    LocalSocket,
    LocalTimeout,
    LocalUnavailable,
    ask,
    asking_user,
    sockets_in,
    stream,
)
from gateway.core.socket_folder import LOCK_NAME
from gateway.testing import running_gateway, settings_for_tests
from tests.support.waiting import until

pytestmark = pytest.mark.server

SECONDS = 20
Data = dict[str, Any]


class Answering(LocalSocket):
    """A socket with one answer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()
        self.sent = 0
        self.serve("echo", self._echo)
        self.serve("fail", self._fail)
        self.serve("refuse", self._refuse)
        self.serve("never", self._never)
        self.serve("user", self._user)
        self.serve_stream("count", self._count)
        self.serve_stream("flood", self._flood)
        self.serve_stream("wait", self._wait)

    async def _echo(self, data: Data) -> Data:
        return data

    async def _fail(self, _: Data) -> Data:
        raise OSError("not for the eyes of others")

    async def _refuse(self, _: Data) -> Data:
        raise LocalFailed("not today")

    async def _never(self, _: Data) -> Data:
        await asyncio.get_running_loop().create_future()
        return {}

    async def _user(self, _: Data) -> Data:
        return {"user": asking_user.get()}

    async def _count(self, data: Data) -> AsyncGenerator[Data, None]:
        for number in range(data["to"]):
            yield {"number": number}
        if data.get("fails"):
            raise ValueError("at the end")

    async def _flood(self, _: Data) -> AsyncGenerator[Data, None]:
        while True:
            self.sent += 1
            yield {"text": "x" * 10_000}

    async def _wait(self, _: Data) -> AsyncGenerator[Data, None]:
        try:
            yield {}
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.set()


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Answering]:
    answering = Answering()
    await answering.listen(tmp_path)
    yield answering
    await answering.close()


@pytest.fixture
def path(answering: Answering) -> Path:
    assert answering.path is not None
    return answering.path


async def said(path: Path, text: bytes, *, half_close: bool = True) -> bytes:
    """Send bytes, and return all that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(text)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_question_is_answered(path: Path, tmp_path: Path) -> None:
    assert sockets_in(tmp_path) == [path]
    assert path == tmp_path / "run" / f"{os.getpid()}.sock"
    assert await ask(path, "echo", {"text": "grüße\u2028"}, timeout=SECONDS) == {"text": "grüße\u2028"}
    assert await ask(path, "user", {}, timeout=SECONDS) == {"user": os.geteuid()}
    many = await asyncio.gather(*(ask(path, "echo", {"number": number}, timeout=SECONDS) for number in range(50)))
    assert [each["number"] for each in many] == list(range(50))
    long = "x" * 60_000
    assert await ask(path, "echo", {"text": long}, timeout=SECONDS) == {"text": long}


async def test_a_stream_comes_part_by_part_and_ends(path: Path) -> None:
    assert [part["number"] async for part in stream(path, "count", {"to": 1000})] == list(range(1000))
    assert [part async for part in stream(path, "count", {"to": 0})] == []


async def test_a_stream_that_fails_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = stream(path, "count", {"to": 1, "fails": True})
    assert await anext(parts) == {"number": 0}
    with pytest.raises(LocalFailed, match="its log says why"):
        await anext(parts)
    assert "at the end" in caplog.text


async def test_a_stream_is_closed_when_its_reader_is_gone(answering: Answering, path: Path) -> None:
    parts = stream(path, "wait", {})
    await anext(parts)
    assert not answering.closed.is_set()
    await parts.aclose()
    async with asyncio.timeout(SECONDS):
        await answering.closed.wait()


async def test_a_stream_is_closed_when_the_gateway_ends(answering: Answering, path: Path) -> None:
    parts = stream(path, "wait", {})
    await anext(parts)
    await answering.close()
    assert answering.closed.is_set()
    with pytest.raises(LocalUnavailable, match="ended the connection"):
        await anext(parts)


async def test_a_reader_that_stops_reading_stops_the_stream_and_nothing_else(answering: Answering, path: Path) -> None:
    parts = stream(path, "flood", {})
    await anext(parts)
    sent = -1
    while sent < answering.sent:  # the buffers of the system are full
        sent = answering.sent
        await ask(path, "echo", {}, timeout=SECONDS)
        await asyncio.sleep(0.05)
    assert sent < 10_000
    await parts.aclose()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"", b""),
        (b"\n", b"expected a line of JSON"),
        (b"not JSON\n", b"expected a line of JSON"),
        (b"\xff\xfe\n", b"expected a line of JSON"),
        (b'{"ask": "echo", "data": {}', b"got the beginning of one"),
        (b'{"ask": "echo", "data": {}}', b"got the beginning of one"),
        (b'{"ask": "echo", "ask": "fail", "data": {}}\n', b"expected a line of JSON"),
        (b'{"ask": "echo", "data": {"deep": ' + b"[" * 500 + b"]" * 500 + b"}}\n", b"expected a line of JSON"),
        (b"[" * 60_000 + b"\n", b"expected a line of JSON"),
        (b"[]\n", b"expected {"),
        (b'{"ask": 1, "data": {}}\n', b"expected {"),
        (b'{"ask": "echo"}\n', b"expected {"),
        (b'{"ask": "echo", "data": []}\n', b"expected {"),
        (b'{"ask": "echo", "data": {}, "more": 1}\n', b"expected {"),
        (b'{"ask": "nothing", "data": {}}\n', b"does not know this question"),
        (b'{"ask": "refuse", "data": {}}\n', b'{"error":"not today"}\n'),
        (b'{"ask": "fail", "data": {}}\n', b"its log says why"),
        (b'{"ask": "echo", "data": {}}\nand more\n', b'{"answer":{}}\n'),
        (b"x" * (MAX_QUESTION_BYTES * 3), b"a line of at most"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"expected a line of JSON"),
    ],
)
async def test_what_is_no_question_is_refused_in_words(path: Path, text: bytes, answer: bytes) -> None:
    before = faults.counters["local_socket"]
    got = await said(path, text)
    assert answer in got
    assert got.count(b"\n") == bool(got)
    assert b"not for the eyes" not in got
    assert faults.counters["local_socket"] == before + (b"fail" in text and b"log says why" in got)
    assert await ask(path, "echo", {}, timeout=SECONDS) == {}


async def test_half_a_line_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_socket, "QUESTION_SECONDS", 0.1)
    assert b"expected a question within 0.1 seconds" in await said(path, b'{"ask": ', half_close=False)


async def test_a_thousand_connections_are_refused_and_the_next_question_is_answered(path: Path) -> None:
    opened = []
    busy = 0
    try:
        for _ in range(1000):
            sock = socket.socket(socket.AF_UNIX)
            opened.append(sock)
            sock.settimeout(SECONDS)
            await asyncio.to_thread(sock.connect, str(path))
        for sock in opened[MAX_CONNECTIONS:]:
            busy += b"too many questions" in await asyncio.to_thread(sock.recv, 1000)
        assert busy == 1000 - MAX_CONNECTIONS
    finally:
        for sock in opened:
            sock.close()

    async def answered() -> bool:
        try:
            return await ask(path, "echo", {}, timeout=SECONDS) == {}
        except LocalFailed:
            return False

    await until(answered)


async def test_a_process_that_hangs_costs_its_time_limit_only(path: Path) -> None:
    with pytest.raises(LocalTimeout, match=r"within 0\.1 seconds"):
        await ask(path, "never", {}, timeout=0.1)


async def test_a_stopped_process_with_a_full_queue_is_there_and_times_out(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, pathlib; from gateway.core.socket_folder import bind_in\n"
        "sock, _ = asyncio.run(bind_in(pathlib.Path(sys.argv[1]))); print(flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time that counts
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    fillers = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGSTOP)
        [path] = sockets_in(tmp_path)
        for filler in fillers:
            filler.setblocking(False)
            try:
                filler.connect(str(path))
            except BlockingIOError:
                break
        assert sockets_in(tmp_path) == [path]
        with pytest.raises(LocalTimeout):
            await ask(path, "echo", {}, timeout=0.2)
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)
        for filler in fillers:
            filler.close()
    assert sockets_in(tmp_path) == []
    with pytest.raises(LocalUnavailable, match="does not listen"):
        await ask(path, "echo", {}, timeout=SECONDS)
    assert path.exists()
    answering = Answering()  # the next process clears up
    await answering.listen(tmp_path)
    assert not path.exists()
    await answering.close()
    assert list((tmp_path / "run").glob("*.sock")) == []


AS_ANOTHER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1]); sock.sendall(b'{"ask": "echo", "data": {}}\\n'); print(sock.recv(100))
"""


def asked_by_another(path: Path) -> str:
    words = [sys.executable, "-c", AS_ANOTHER, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The folder keeps others out, and the socket does where its rights were loosened."""
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    with running_gateway(settings_for_tests(tmp_path)) as gateway:
        path = gateway.state.local_socket.path
        assert path is not None
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "Permission denied" in asked_by_another(path)
        path.parent.chmod(0o777)
        path.chmod(0o777)
        answer = asked_by_another(path)
    assert "echo" not in answer
    assert "error" not in answer
    assert f"refused the user 65534 of this machine at {path}" in caplog.text


async def test_several_sockets_of_one_pid_have_names_of_their_own(tmp_path: Path) -> None:
    """Containers that share a folder have the same pids."""
    answering = [Answering() for _ in range(3)]
    await asyncio.gather(*(each.listen(tmp_path) for each in answering))
    pid = os.getpid()
    assert [path.name for path in sockets_in(tmp_path)] == [f"{pid}.sock", f"{pid}-2.sock", f"{pid}-3.sock"]
    for each in answering:
        assert each.path is not None
        assert await ask(each.path, "echo", {}, timeout=SECONDS) == {}
        await each.close()
    assert sockets_in(tmp_path) == []


async def test_a_path_of_any_length_will_do(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    answering = Answering()
    await answering.listen(folder)
    [path] = sockets_in(folder)
    assert await ask(path, "echo", {}, timeout=SECONDS) == {}
    await answering.close()
    assert not path.exists()


async def test_a_folder_that_takes_no_socket_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").write_text("a file")
    answering = Answering()
    await answering.listen(tmp_path)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"cannot make a socket in {tmp_path} (")
    assert sockets_in(tmp_path) == []
    await answering.close()
    (tmp_path / "run").unlink()
    monkeypatch.delattr(socket, "AF_UNIX")  # as on some systems
    await answering.listen(tmp_path)
    assert len(caplog.records) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_gateway_starts_where_it_can_write_no_socket(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = str(tmp_path / "run")
    (tmp_path / "run").mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        with running_gateway(settings_for_tests(tmp_path)) as gateway:
            assert gateway.state.local_socket.path is None
    finally:
        subprocess.run(["umount", folder], check=True)
    assert "(Read-only file system)" in caplog.text


def test_a_gateway_listens_as_long_as_it_serves(tmp_path: Path) -> None:
    with running_gateway(settings_for_tests(tmp_path)) as gateway:
        assert sockets_in(tmp_path) == [gateway.state.local_socket.path]
    assert sockets_in(tmp_path) == []


async def test_a_process_that_hangs_in_its_start_does_not_keep_others_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_folder, "LOCK_SECONDS", 0.1)
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / LOCK_NAME) as lock:
        assert lock.acquire(shared=False)
        answering = Answering()
        await answering.listen(tmp_path)
        assert answering.path is not None
        assert await ask(answering.path, "echo", {}, timeout=SECONDS) == {}
        await answering.close()


async def test_a_socket_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_socket, "LOOK_SECONDS", 0.05)
    answering = Answering()
    await answering.listen(tmp_path)
    [path] = sockets_in(tmp_path)
    shutil.rmtree(tmp_path / "run")
    await until(lambda: sockets_in(tmp_path) == [path])
    assert await ask(path, "echo", {"again": True}, timeout=SECONDS) == {"again": True}
    await answering.close()
    assert sockets_in(tmp_path) == []
