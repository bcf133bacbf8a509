"""Connecting to Redis or Valkey: a problem is one line, and each kind of URL works."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.bus import redis_client as cluster_client
from gateway.bus.redis_client import check, close, connect
from gateway.core.start_error import StartError
from gateway.testing import settings_for_tests
from tests.support.child import free_port
from tests.support.valkey import Valkey, running_cluster, running_sentinel, running_valkey

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


async def problem_of(url: str) -> str:
    """Return what `gateway serve` says about a URL, or an empty text."""
    settings = settings_for_tests(Path("unused"), bus_url=url)
    client = connect(settings)
    line = ""
    try:
        await check(client, settings)
    except StartError as error:
        line = str(error)
    finally:
        await close(client)
    assert "\n" not in line
    assert "hunter2" not in line
    return line.removeprefix("GATEWAY_BUS_URL: ")


async def test_a_server_that_is_there_is_fine(valkey: Valkey) -> None:
    assert not await problem_of(valkey.url)


@pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
async def test_without_a_listener_the_system_says_why(kind: str) -> None:
    port = free_port()
    problem = await problem_of(f"{kind}://app:hunter2@127.0.0.1:{port}")
    assert problem == f"no answer (Connection refused), at 127.0.0.1:{port}"


async def test_an_unknown_host_is_named() -> None:
    assert (await problem_of("redis://:hunter2@no-such-host.invalid")).endswith("at no-such-host.invalid:6379")


async def test_a_server_that_hangs_is_not_waited_for(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_client, "ANSWER_SECONDS", 0.3)
    valkey.freeze()
    try:
        assert (await problem_of(valkey.url)).startswith("no answer within ")
    finally:
        valkey.thaw()


async def test_a_wrong_password_is_told_and_not_shown() -> None:
    with running_valkey("--requirepass", "right") as valkey:
        place = f"127.0.0.1:{valkey.port}"
        assert not await problem_of(f"redis://:right@{place}")
        refused = f"the server does not accept this user name and password, at {place}"
        assert await problem_of(f"redis://:hunter2@{place}") == refused
        assert await problem_of(f"redis://app:hunter2@{place}") == refused
        assert (await problem_of(f"redis://{place}")).startswith("expected user:password@ before the hosts")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+cluster://{}", "expected a cluster, got a single server; write redis:// for it"),
        ("redis+sentinel://{}/main", "expected sentinels, got an ordinary server; write redis:// for it"),
        ("redis://{}/99", "the server refused: DB index is out of range"),
    ],
)
async def test_a_server_of_another_kind_than_the_url_says_is_refused(valkey: Valkey, url: str, problem: str) -> None:
    place = f"127.0.0.1:{valkey.port}"
    assert (await problem_of(url.format(place))).startswith(problem)


async def test_a_replica_is_refused(valkey: Valkey) -> None:
    with running_valkey("--replicaof", f"127.0.0.1 {valkey.port}") as replica:
        assert "got a replica; name its primary" in await problem_of(replica.url)


async def test_a_cluster_is_known_by_its_url_and_by_no_other() -> None:
    with running_cluster() as cluster:
        place = f"127.0.0.1:{cluster.port}"
        assert not await problem_of(f"redis+cluster://{place}")
        assert "write redis+cluster:// for it" in await problem_of(cluster.url)
        cluster.ask("ACL SETUSER app on >hunter2 +@all -cluster")
        problem = await problem_of(f"redis+cluster://app:hunter2@{place}")
        assert problem.startswith("the server does not allow this user the commands that the gateway needs")


async def test_sentinels_lead_to_the_server_that_they_watch(valkey: Valkey) -> None:
    with running_sentinel(valkey, "main") as sentinel:
        assert not await problem_of(f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        assert "none knows a service with this name" in await problem_of(
            f"redis+sentinel://127.0.0.1:{sentinel.port}/other"
        )


@contextmanager
def something_else() -> Iterator[int]:
    """A server that speaks HTTP on this port."""

    def answer() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


async def test_what_is_no_redis_is_told_so() -> None:
    with something_else() as port:
        assert "got an answer of something else" in await problem_of(f"redis://127.0.0.1:{port}")
