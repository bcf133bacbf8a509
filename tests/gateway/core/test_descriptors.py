"""File descriptors: the limit is raised as far as possible, and a connection beyond it is refused with an answer."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.core.descriptors import RESERVED
from tests.gateway.cli.command import WAIT_SECONDS, Output, environment, words

pytestmark = pytest.mark.server

LIMIT = 200
FITTING = LIMIT - RESERVED


@contextmanager
def serving_with(folder: Path, soft: int, hard: int) -> Iterator[tuple[Output, int]]:
    """Run `gateway serve` with these limits, and yield its output and its port."""
    shell = ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh"]
    process = subprocess.Popen(
        [*shell, *words("serve", "--port", "0")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment(folder),
    )
    assert process.stdout is not None
    output = Output(process.stdout)
    try:
        yield output, int(output.expect("Terminal").split()[3].rpartition(":")[2])
    finally:
        process.terminate()
        try:
            assert process.wait(WAIT_SECONDS) == 0
        finally:
            process.kill()
            output.close()


def test_the_limit_is_raised_and_connections_beyond_it_are_told_counted_and_logged_and_later_ones_come_in(
    tmp_path: Path,
) -> None:
    with serving_with(tmp_path, LIMIT - 50, LIMIT) as (output, port), ExitStack() as stack:
        line = output.expect("connections fit")
        assert f"{FITTING} connections fit into this process, which may open {LIMIT} files" in line
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_SECONDS))
            for _ in range(FITTING + 20)
        ]
        told = [client.recv(4096) for client in clients[FITTING:]]
        assert {answer.partition(b"\r\n")[0] for answer in told} == {b"HTTP/1.1 503 Service Unavailable"}
        assert all(b"no room for one more connection" in answer for answer in told)
        assert f"refused a connection: {FITTING} are open" in output.expect("refused a connection")
        for client in clients[:FITTING]:  # they have been accepted, but have no answer so far
            client.setblocking(False)
            assert _is_silent(client)
            client.close()
        metrics = _get(f"http://127.0.0.1:{port}/metrics")
        assert re.search(r"^gateway_connections_refused_total 20\.0$", metrics, re.MULTILINE)
    assert output.text.count("refused a connection") == 1  # and not once for each connection
    assert "Traceback" not in output.text


def _is_silent(client: socket.socket) -> bool:
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


def _get(url: str) -> str:
    with httpx2.Client(timeout=WAIT_SECONDS, transport=httpx2.HTTPTransport(retries=3)) as client:
        for _ in range(50):
            response = client.get(url)
            if response.status_code == 200:
                return response.text
    raise AssertionError("the gateway takes nobody any more")
