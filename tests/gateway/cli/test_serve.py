"""`gateway serve`: it prints its URLs, refuses what cannot work, and keeps what it acknowledged."""

import asyncio
import os
import re
import signal
import socket
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed

from gateway.cli import run as cli_run
from gateway.cli.serve import check_protocols, check_transport, listen
from gateway.testing import Gateway, settings_for_tests
from tests.gateway.cli.command import PASSWORD, WAIT_SECONDS, Piped, Served, Terminal, serving
from tests.gateway.cli.conftest import RunHere
from tests.support.child import free_port
from tests.support.client import App, ChatClient
from tests.support.waiting import until

pytestmark = pytest.mark.server

GOOD_KEY = "kY7w-3pXc9ZtQ2vLr8mNs4dFg6hJb1aE"


def test_it_says_where_to_point_a_browser_postman_and_a_terminal(served: Served) -> None:
    place = f"127.0.0.1:{served.port}"
    assert f"http://{place}/" in served.output.expect("Browser")
    assert f"http://{place}/docs/messages" in served.output.expect("Docs")
    assert f"POST http://{place}/token" in served.output.expect("Postman")
    assert f"ws://{place}/ws/chat?token=" in served.output.expect("WebSocket ws")
    assert re.search(f"gateway chat ws://{place} .* --register$", served.output.expect("Terminal"))
    assert httpx2.get(f"{served.url}/docs").status_code == 200


def test_a_start_that_cannot_work_is_refused_in_one_line(served: Served, tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "file").touch()
    bus = f"redis://:hunter2@127.0.0.1:{free_port()}"
    taken = run_here(tmp_path, "serve", "--port", str(served.port))
    no_bus = run_here(tmp_path, "serve", "--port", "0", GATEWAY_BUS_URL=bus)
    below_a_file = run_here(tmp_path, "serve", "--port", "0", GATEWAY_DATA_DIR=str(tmp_path / "file" / "data"))
    read_only = run_here(tmp_path, "serve", "--port", "0", GATEWAY_DATA_DIR="/proc/gateway")
    assert f"port {served.port}" in taken.problem
    assert "--port" in taken.problem
    assert "GATEWAY_DATA_DIR" in below_a_file.problem
    assert "GATEWAY_DATA_DIR" in read_only.problem
    assert no_bus.problem.startswith("GATEWAY_BUS_URL: no answer (Connection refused), at 127.0.0.1:")


def test_without_the_extra_a_bus_says_what_to_install(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("gateway.bus.redis", "gateway.bus.redis_client"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    problem = run_here(tmp_path, "serve", "--port", "0", GATEWAY_BUS_URL="redis://127.0.0.1:1").problem
    assert problem == "GATEWAY_BUS_URL: this needs redis-py; pip install 'json-gateway[redis]'"


@pytest.mark.parametrize("package", ["asyncpg", "greenlet"])
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("users", "list"), ("db", "upgrade")])
def test_without_the_extra_postgresql_says_what_to_install(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    problem = run_here(tmp_path, *command, GATEWAY_DATABASE_URL="postgresql://127.0.0.1:1/chat").problem
    assert problem == "GATEWAY_DATABASE_URL: PostgreSQL needs further packages; pip install 'json-gateway[postgres]'"


PRODUCTION = {"GATEWAY_ENVIRONMENT": "production", "GATEWAY_PASSWORD_ROUNDS": "10"}
GOOD: dict[str, Any] = {"environment": "production", "secret_key": GOOD_KEY, "password_rounds": 10}


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("hunter2-hunter2", "expected at least 32 bytes, got 15"),
        ("change-me-change-me-change-me-change-me", "expected a random string, got a sample or one as easy to guess"),
        ("-----BEGIN PRIVATE KEY-----MIGEAgEAMBAGByqGSM49", "expected a random string, got a key or a certificate"),
    ],
)
def test_production_needs_a_good_key(tmp_path: Path, run_here: RunHere, key: str, problem: str) -> None:
    refused = run_here(tmp_path, "serve", **PRODUCTION, GATEWAY_SECRET_KEY=key)
    assert refused.problem.startswith(f"GATEWAY_SECRET_KEY: {problem}")
    assert key not in refused.err


def test_production_does_not_start_without_a_key(tmp_path: Path, run_here: RunHere) -> None:
    refused = run_here(tmp_path, "serve", **PRODUCTION)
    assert refused.problem.startswith("GATEWAY_SECRET_KEY: production needs one; make it")


def test_production_does_not_listen_on_a_network_without_tls_before_it(tmp_path: Path, run_here: RunHere) -> None:
    good = PRODUCTION | {"GATEWAY_SECRET_KEY": GOOD_KEY}
    refused = run_here(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0", **good)
    assert refused.problem.startswith("--host 0.0.0.0: the gateway speaks plain HTTP, and production needs TLS")
    # With a trusted proxy, a test below listens there.
    with closing(listen("0.0.0.0", 0)) as sock:
        check_transport(settings_for_tests(tmp_path, **GOOD, plain_http=True), sock)


@pytest.mark.parametrize(
    "moved",
    [
        "http.httptools_impl.HttpToolsProtocol.on_message_begin",
        "websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.handle_ping",
    ],
)
def test_production_does_not_start_on_uvicorns_own_protocols_unless_it_may(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    monkeypatch.delattr(f"uvicorn.protocols.{moved}")
    good = PRODUCTION | {"GATEWAY_SECRET_KEY": GOOD_KEY}
    refused = run_here(tmp_path, "serve", "--port", "0", **good)
    assert refused.problem.startswith("expected uvicorn and websockets in the versions that json-gateway names, got")
    assert "GATEWAY_ALLOW_UVICORN_PROTOCOL=true" in refused.problem

    check_protocols(settings_for_tests(tmp_path, **GOOD, allow_uvicorn_protocol=True))
    check_protocols(settings_for_tests(tmp_path))


def test_each_wrong_setting_is_named_with_what_was_expected_and_never_its_value(
    tmp_path: Path, run_here: RunHere
) -> None:
    wrong = {
        "GATEWAY_SECRET_KEY": "s3cr3t-k3y",
        "GATEWAY_DATABASE_URL": "mysql://app:s3cr3t-k3y@db/app",
        "GATEWAY_MESSAGE_RATE": "s3cr3t-k3y",
        "GATEWAY_PASSWORD_ROUNDS": "3",
        "GATEWAY_ENVIRONMENT": "s3cr3t-k3y",
        "GATEWAY_ALLOWED_ORIGINS": "https://s3cr3t-k3y.example/path",
        "GATEWAY_ROOT_PATH": "s3cr3t-k3y",
    }
    serve, users = run_here(tmp_path, "serve", **wrong), run_here(tmp_path, "users", "list", **wrong)
    for result in (serve, users):
        assert result.status == 1
        lines = result.err.splitlines()
        assert sorted(line.split(":")[1].strip() for line in lines) == sorted(wrong)
        assert "s3cr3t-k3y" not in result.out + result.err
    assert "at least 32 bytes" in serve.err
    assert "'development' or 'production'" in serve.err


async def test_the_whole_product_from_a_shell_also_when_it_is_killed(tmp_path: Path) -> None:
    """Two users register, log in, join and talk, one through a pipe. The gateway is killed and started again."""
    with (
        serving(tmp_path, forks=False) as first,
        Terminal(tmp_path, "chat", first.ws_url, "--user", "alice", "--register") as alice,
        Piped(tmp_path, first.ws_url, "--user", "bob", "--register") as bob,
    ):
        alice.expect("Password:")
        alice.type(f"{PASSWORD}\n")
        alice.expect("you are alice")
        bob.write("Hello, Alice!\n")
        alice.expect("bob: Hello, Alice!")
        alice.type("Hello, Bob!\n")
        bob.out.expect("alice: Hello, Bob!")
        async with App(cast(Gateway, first)) as app:
            old_token = (await app.log_in("bob")).json()["access_token"]

        # In the middle of many lines, so that one is being sent.
        speech = [f"line {number}" for number in range(1, 121)]
        bob.write("".join(f"{line}\n" for line in speech))
        alice.expect("bob: line 20")
        first.stop(signal.SIGKILL)
        alice.expect("the connection is lost")
        alice.type("Are you still there?\n")

        with serving(tmp_path, port=first.port) as second:
            alice.expect("alice: Are you still there?")
            alice.expect("bob: line 120")
            bob.out.expect("alice: Are you still there?")
            assert bob.end() == 0
            alice.type("\x04")
            assert alice.end() == 0

            async with (
                App(cast(Gateway, second)) as app,
                app.socket(additional_headers={"Authorization": f"Bearer {old_token}"}) as client,
            ):
                await client.expect("welcome", user="bob")
                history: list[dict[str, Any]] = []
                more = True
                while more:
                    page = await client.ask(
                        "chat.history", room="lobby", after=history[-1]["offset"] if history else 0, limit=100
                    )
                    history += page["messages"]
                    more = page["has_more"]
            assert second.stop(signal.SIGTERM) == 0

    assert [message["offset"] for message in history] == list(range(1, 124))
    said = [message["text"] for message in history]
    assert said[:2] == ["Hello, Alice!", "Hello, Bob!"]
    assert [text for text in said if text.startswith("line")] == speech
    assert "Are you still there?" in said
    # No client was shown anything twice, or in another order.
    assert spoken(bob.out.text) == said
    assert [text for text in spoken(alice.text) if text.startswith("line")] == speech
    for output in (first.output.text, second.output.text, alice.text, bob.out.text, bob.err.text):
        assert PASSWORD not in output
        assert old_token not in output
    key = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def spoken(output: str) -> list[str]:
    return [line.split(": ", 1)[1] for line in output.splitlines() if re.match(r".*\d\d:\d\d (alice|bob): ", line)]


async def test_the_log_at_its_most_talkative_has_no_credential(served: Served, app: App, alice: str) -> None:
    token = await app.token(alice)
    await app.log_in(alice, "wrong-wrong-wrong")
    async with app.socket(f"?token={token}") as client:
        await client.expect("welcome")
    async with app.socket(f"?token={token[:-4]}") as client:
        await client.expect("error")
    async with app.socket(additional_headers={"Authorization": f"Bearer {token}"}) as client:
        await client.expect("welcome")
        await client.ask("room.join", room=alice)
        await client.ask("bye")
    await app.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})

    served.output.expect("TRACE")
    text = served.output.text
    for secret in (
        token,
        token[:-4],
        token.rpartition(".")[2][:-4],
        PASSWORD,
        PASSWORD.replace(" ", "+"),
        "wrong-wrong",
    ):
        assert secret not in text


def test_in_production_it_points_to_no_page_nor_to_a_closed_registration_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "GATEWAY_ENVIRONMENT": "production",
        "GATEWAY_SECRET_KEY": GOOD_KEY,
        "GATEWAY_PASSWORD_ROUNDS": "10",
        "GATEWAY_CHAT_PASSWORD": PASSWORD,
        "GATEWAY_MESAGE_RATE": "7",
        "GATEWAY_ROOT_PATH": "/talk",
        "GATEWAY_TRUSTED_PROXIES": "10.0.0.1",
        "GATEWAY_REGISTRATION": "closed",
    }
    with serving(tmp_path, "--host", "0.0.0.0", **variables) as served:
        assert served.ws_url == f"ws://0.0.0.0:{served.port}/talk"
        assert "Browser" not in served.output.text
        assert served.output.expect("Terminal").endswith("--room lobby\n")
        assert "GATEWAY_MESAGE_RATE" in served.output.text
        assert "GATEWAY_CHAT_PASSWORD" not in served.output.text
        assert not os.path.lexists(tmp_path / "data" / "secret_key")
        assert served.stop(signal.SIGINT) == 0
        assert "Traceback" not in served.output.text


SLOW = """
import asyncio

from fastapi import Response

from gateway.app import create_app
from handlers import HANDLERS, MsgHandler
from schemas.base import Empty


class SlowHandler(MsgHandler[Empty, Empty]):
    schema = Empty

    async def handle(self, data):
        print("at it", flush=True)
        await asyncio.sleep(self.seconds)
        return Empty()


class Second(SlowHandler):
    seconds = 1


class Hour(SlowHandler):
    seconds = 3600


app = create_app(registry={**HANDLERS, "wait.second": Second, "wait.hour": Hour})


@app.get("/much")
async def much() -> Response:
    return Response(b"x" * 20_000_000)
"""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    """A gateway with slow messages, and ten minutes to finish them when it stops."""
    (tmp_path / "slow.py").write_text(SLOW)
    with serving(tmp_path, "--app", "slow:app", GATEWAY_DRAIN_SECONDS="600") as served:
        yield served
        served.output.close()


async def test_a_gateway_that_stops_finishes_what_it_is_at_says_good_bye_and_cuts_off_a_client_that_does_not_read(
    slow: Served,
) -> None:
    async with (
        App(cast(Gateway, slow)) as app,
        app.connect("alice") as ann,
        app.connect("bob") as ben,
        unread(slow.port, b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ):
        await ann.send({"type": "wait.second", "id": 1})
        slow.output.expect("at it")
        slow.process.send_signal(signal.SIGTERM)
        await ben.expect("bye", code=1012, reason="draining", reconnect="after_delay")
        await ben.expect_close(1012, "draining")
        await ann.expect("reply", id=1, status=20000)
        await ann.expect("bye", code=1012)
        await ann.expect_close(1012, "draining")
        assert await asyncio.to_thread(slow.process.wait, WAIT_SECONDS) == 0
    slow.output.close()
    assert "cut off 1 sockets that were not closed in time" in slow.output.text
    assert not re.search("Traceback|ERROR|WARNING", slow.output.text), slow.output.text


@asynccontextmanager
async def unread(port: int, request: bytes) -> AsyncIterator[None]:
    """Send a request, and read no more of its answer than the beginning."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(request)
    assert await reader.readexactly(8) == b"HTTP/1.1"
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    yield
    writer.transport.abort()


SHOP = """
from fastapi import FastAPI

from gateway import attach

app = FastAPI()
attach(app, "/rt")


@app.get("/mine")
async def mine() -> int:
    return 1
"""


async def test_an_own_application_is_found_in_the_folder_and_the_gateway_attached_to_it_says_good_bye(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    # Like the script in a virtual environment, Python does not look into the current folder by itself.
    with serving(tmp_path, "--app", "shop:app", PYTHONSAFEPATH="1") as served:
        assert httpx2.get(f"{served.url}/mine").json() == 1
        served.ws_url += "/rt"
        async with App(cast(Gateway, served)) as app, app.connect("alice") as alice:
            served.process.send_signal(signal.SIGTERM)
            await alice.expect("bye", code=1012, reason="draining", reconnect="after_delay")
            await alice.expect_close(1012, "draining")
        assert served.process.wait(WAIT_SECONDS) == 0
        served.output.close()


async def test_a_gateway_that_stops_sends_proxies_elsewhere_and_a_second_signal_ends_it_at_once(slow: Served) -> None:
    async with App(cast(Gateway, slow)) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        await ann.send({"type": "wait.hour"})
        slow.output.expect("at it")
        slow.process.send_signal(signal.SIGTERM)
        await ben.expect("bye", code=1012)
        # On the connection that the log-ins have left open, as a proxy keeps some.
        assert (await app.http.get("/healthz")).headers["connection"] == "close"
        with pytest.raises(httpx2.ConnectError):
            await app.http.get("/healthz")
        slow.process.send_signal(signal.SIGTERM)
        assert slow.process.wait(WAIT_SECONDS) == 0


async def test_a_gateway_that_stops_answers_what_a_proxy_sends_on_a_connection_that_it_keeps(tmp_path: Path) -> None:
    with serving(tmp_path, GATEWAY_TRUSTED_PROXIES="127.0.0.1") as served:
        async with httpx2.AsyncClient(base_url=served.url, timeout=WAIT_SECONDS, trust_env=False) as proxy:
            await proxy.get("/healthz")
            served.process.send_signal(signal.SIGTERM)
            await until(lambda: not listens(served.port))
            form = {"username": "alice", "password": PASSWORD}
            answer = await proxy.post("/token", data=form)
            assert (answer.status_code, answer.headers["connection"]) == (401, "close")
        assert served.process.wait(WAIT_SECONDS) == 0
        served.output.close()


def listens(port: int) -> bool:
    with closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_a_gateway_that_stops_under_load_keeps_what_it_acknowledged_and_waits_for_no_client_that_does_not_read(
    tmp_path: Path,
) -> None:
    """Four clients send as fast as they get replies, one reads none of it, and one is silent."""
    no_limits: dict[str, Any] = {
        "GATEWAY_OUTBOX_BYTES": "1000000000",
        "GATEWAY_OUTBOX_FRAMES": "1000000",
        "GATEWAY_MESSAGE_RATE": "0",
    }
    no_limits |= {"GATEWAY_MESSAGE_RATE_PER_USER": "0", "GATEWAY_MESSAGE_RATE_PER_ADDRESS": "0"}
    no_limits |= {"GATEWAY_WRITE_BYTES_PER_USER": "0"}
    acknowledged: list[str] = []

    async def send(client: ChatClient) -> None:
        while True:
            id = await client.start("chat.send", room="lobby", body="x" * 60_000)
            acknowledged.append((await client.until(id=id, status=20000))["data"]["message"]["id"])

    async def send_to_the_end(client: ChatClient) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            await send(client)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "draining")

    with serving(tmp_path, GATEWAY_DRAIN_SECONDS="1", **no_limits) as served:
        async with App(cast(Gateway, served)) as app, app.in_room("deaf", "lobby") as deaf, AsyncExitStack() as stack:
            silent_reader, silent_writer = await asyncio.open_connection("127.0.0.1", served.port)
            deaf.ws.transport.pause_reading()
            clients = [await stack.enter_async_context(app.in_room(f"user-{n}", "lobby")) for n in range(4)]
            sending = [asyncio.create_task(send_to_the_end(client)) for client in clients]
            await until(lambda: len(acknowledged) >= 200)  # enough to fill the socket of the client that does not read
            served.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.gather(*sending)
                assert await silent_reader.read() == b""
                with pytest.raises(OSError, match="Connect call failed"):
                    await asyncio.open_connection("127.0.0.1", served.port)
            # It has ended while both are still open at their ends.
            assert await asyncio.to_thread(served.process.wait, WAIT_SECONDS) == 0
            silent_writer.close()
            deaf.ws.transport.abort()
        served.output.close()
    for line in served.output.text.splitlines():
        assert not re.search("Traceback|ERROR|WARNING", line), line
    with closing(sqlite3.connect(tmp_path / "data" / "gateway.db")) as store:
        [(top,)] = store.execute("SELECT max(offset) FROM messages").fetchall()
    assert max(int(id.rpartition(".")[2]) for id in acknowledged) <= top
    assert len(set(acknowledged)) == len(acknowledged) <= top


OWN_APP = """
from gateway.app import create_app

app = create_app()


@app.get("/mine")
async def mine() -> int:
    return {answer}
"""


async def answers(app: App, expected: int) -> bool:
    """Return whether the application's own route answers: the server listens a moment after its application started."""
    try:
        return bool((await app.http.get("/mine")).json() == expected)
    except httpx2.TransportError:
        return False


async def test_dev_finds_an_own_module_in_the_folder_and_starts_again_when_it_changes(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_APP.format(answer=1))
    with serving(tmp_path, "--app", "mine:app", command="dev", PYTHONSAFEPATH="1") as served:
        async with App(cast(Gateway, served)) as app:
            await until(lambda: answers(app, 1))
            (tmp_path / "mine.py").write_text(OWN_APP.format(answer=2))
            served.output.expect("Reloading")
            served.output.expect("Finished server process")
            await until(lambda: answers(app, 2))
            # The process that serves writes its log as the settings say.
            assert re.search(r"^\S+ \S+ INFO .*Application startup complete", served.output.text, re.MULTILINE)
            # The database in that folder has changed more than once, and that is no news.
            assert "watchfiles" not in served.output.text
        assert served.stop(signal.SIGINT) == 0


def test_serve_reloads_as_dev_does_if_it_is_asked_to(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[tuple[object, object]] = []

    class Reload:
        def __init__(self, config: uvicorn.Config, target: Callable[..., None], sockets: list[socket.socket]) -> None:
            self._started = (config.app, target)

        def run(self) -> None:
            reloads.append(self._started)

    monkeypatch.setattr(cli_run, "ChangeReload", Reload)
    for words in (("dev",), ("serve", "--reload")):
        assert run_here(tmp_path, *words, "--port", "0", "--app", "mine:app").status == 0
    of_dev, of_serve = reloads
    assert str(of_serve) == str(of_dev)
    assert of_serve[0] == "mine:app"
