"""The gateway behind the proxies that `deploy/` configures: real nginx, real Caddy, real TLS."""

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers import BUILT_IN, Chunk, MsgHandler, Registry
from schemas.base import Empty
from tests.support.child import free_port
from tests.support.client import PASSWORD, WAIT_SECONDS, ChatClient
from tests.support.lacking import program
from tests.support.proxy import Proxy as Relay
from tests.support.services import add_service
from tests.support.waiting import until

pytestmark = pytest.mark.server

DEPLOY = Path(__file__).parents[1] / "deploy"
START_SECONDS = 20


@dataclass
class Proxy:
    """A proxy in front of a gateway, and of a node that is down."""

    port: int
    folder: Path
    gateway: Gateway
    trust: ssl.SSLContext

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=f"https://localhost:{self.port}", verify=self.trust, timeout=WAIT_SECONDS)

    @asynccontextmanager
    async def socket(self, path: str, **headers: str) -> AsyncIterator[ChatClient]:
        url = f"wss://localhost:{self.port}{path}"
        async with connect(url, ssl=self.trust, compression=None, additional_headers=headers) as ws:
            yield ChatClient(ws)

    def logged(self) -> str:
        """Return the log files, and what the proxy has printed."""
        return "".join(file.read_text() for file in (*self.folder.glob("*.log"), self.folder / "output"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for `localhost`."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


class WaitHandler(MsgHandler[Empty, Empty]):
    """Streams a chunk, and then waits."""

    schema = Empty
    door: ClassVar[threading.Event] = threading.Event()
    ended: ClassVar[list[str]] = []

    async def handle(self, data: Empty) -> AsyncIterator[Chunk]:
        self.door.clear()
        try:
            yield "one"
            await until(self.door.is_set)
            self.ended.append("at its end")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that trusts the proxies of this machine."""
    settings = settings_for_tests(
        tmp_path_factory.mktemp("proxied"), trusted_proxies="127.0.0.1", max_connections_per_user=3
    )
    with running_gateway(settings, registry=BUILT_IN | Registry(handlers={"wait": WaitHandler})) as gateway:
        yield gateway


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, gateway: Gateway, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each proxy, with the configuration of `deploy/` except names, ports and folders."""
    folder = tmp_path_factory.mktemp(request.param)
    with deployed(request.param, gateway, gateway.port, folder, certificate) as proxy:
        yield proxy


@contextmanager
def deployed(
    name: str, gateway: Gateway, node: int, folder: Path, certificate: Path, more_changes: dict[str, str] | None = None
) -> Iterator[Proxy]:
    """Run a proxy in front of the node at that port, and of another one that is down."""
    binary = program(name)
    port = free_port()
    changes = {
        "127.0.0.1:8001": f"127.0.0.1:{node}",
        "127.0.0.1:8002": f"127.0.0.1:{free_port()}",  # a node that is down
        "/etc/ssl/gateway": str(certificate),
        f"/var/log/{name}": str(folder),
    }
    if name == "nginx":
        configuration, file = folder / "nginx.conf", DEPLOY / "nginx.conf"
        changes |= {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "listen 80": f"listen 127.0.0.1:{free_port()}"}
        changes |= {"worker_rlimit_nofile 65536;": "", "worker_processes auto": "worker_processes 1"}
        command = [binary, "-c", str(configuration), "-p", str(folder), "-g", f"daemon off; pid {folder}/pid;"]
    else:
        configuration, file = folder / "Caddyfile", DEPLOY / "Caddyfile"
        tls = f"tls {certificate}/fullchain.pem {certificate}/privkey.pem"
        changes |= {
            "{$SITE:gateway.example.com} {": f"https://localhost:{port} {{\n\t{tls}",
            "\tservers {": "\tadmin off\n\tauto_https disable_redirects\n\tservers {",
        }
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(configuration)]
    text = _changed(file.read_text(), changes | (more_changes or {}))
    with running_proxy(command, configuration, text, port):
        yield Proxy(port, folder, gateway, ssl.create_default_context(cafile=str(certificate / "fullchain.pem")))


@contextmanager
def running_proxy(command: list[str], configuration: Path, text: str, port: int) -> Iterator[None]:
    configuration.write_text(text)
    folder = configuration.parent
    variables = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=variables)
    try:
        until = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < until, (folder / "output").read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        if old in text or not old.startswith("/"):
            assert old in text, f"the configuration has no {old!r} any more"
            text = text.replace(old, new)
    return text


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def log_in(http: httpx2.AsyncClient, name: str) -> str:
    await http.post("/users", json={"username": name, "password": PASSWORD})
    response = await http.post("/token", data={"username": name, "password": PASSWORD})
    assert response.status_code == 200, response.text
    token: str = response.json()["access_token"]
    return token


def test_nginx_sets_no_node_aside_that_has_failed() -> None:
    # It would lead one new WebSocket in some seconds to it, until one through it ends: see `proofs.restart`.
    servers = re.findall(r"^ +server [\d.:]+ (.*);$", (DEPLOY / "nginx.conf").read_text(), re.MULTILINE)
    assert servers == ["max_fails=0"] * 2


async def test_an_app_logs_in_and_talks_through_the_proxy_though_one_node_is_down(proxy: Proxy) -> None:
    async with proxy.client() as http:
        for _ in range(6):
            assert (await http.get("/healthz")).status_code == 200
        token = await log_in(http, "alice")
        async with proxy.socket(f"/ws/chat?token={token}") as client:
            await client.expect("welcome", user="alice")
            await client.ask("room.join", room="lobby")
            await client.ask("chat.send", room="lobby", text="through the proxy")
            await client.expect("chat.message", text="through the proxy")


async def test_each_chunk_of_a_call_passes_the_proxy_at_once_and_a_client_that_goes_cancels_it(proxy: Proxy) -> None:
    async with proxy.client() as http:
        token = await log_in(http, "streamer")
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        for rest in (["event: reply", "data: {}"], None):
            async with http.stream("POST", "/call/wait", headers=headers) as answer, asyncio.timeout(WAIT_SECONDS):
                lines = answer.aiter_lines()
                assert await anext(lines) == 'data: "one"'
                if rest is not None:
                    WaitHandler.door.set()
                    assert [line async for line in lines if line] == rest
        await until(lambda: WaitHandler.ended == ["at its end", "cancelled"])
        WaitHandler.ended.clear()


async def test_no_credential_is_in_a_log_of_the_proxy(proxy: Proxy, gateway: Gateway) -> None:
    async with proxy.client() as http:
        token = await log_in(http, "bob")
        ticket = (await http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})).json()["ticket"]
        for path, headers in (
            (f"/ws/chat?token={token}", {}),
            (f"/ws/chat?ticket={ticket}", {}),
            ("/ws/chat", {"Authorization": f"Bearer {token}"}),
            ("/ws/chat", {"Cookie": f"session={token}", "Origin": f"https://localhost:{proxy.port}"}),
        ):
            async with proxy.socket(path, **headers) as client:
                await client.expect("welcome", user="bob")
        async with proxy.socket(f"/no/such/path?token={token}") as client:
            await client.expect("error", status=40400)
        key = await add_service(gateway, f"ci-{proxy.port}", "api:publish", rooms=["lobby"], hook_of="lobby")
        await http.post(f"/hook/{key}", content="Hello")
        await http.post(f"/hook/{key}?x=y", content="Hello")
        assert (await http.get("/nothing/here")).status_code == 404
    await until(lambda: "/nothing/here" in proxy.logged())
    assert proxy.logged().count("/hook/-") == 2
    for secret in (token, ticket, PASSWORD, key):
        assert secret not in proxy.logged()
        assert secret[-20:] not in proxy.logged()


# To nginx, a node that refuses is an `error`. A socket that is not there is `crit`, as is a machine without free ports.
NO_NODE: dict[str, tuple[str, dict[str, str]]] = {
    "nginx": ("nginx", {}),
    "nginx, in a worse way": ("nginx", {"127.0.0.1:8001": "unix:/nowhere/at/all"}),
    "caddy": ("caddy", {"lb_try_duration 5s": "lb_try_duration 100ms"}),
}


@pytest.mark.parametrize("case", NO_NODE)
async def test_no_credential_is_in_a_log_of_the_proxy_when_no_node_answers(
    case: str, gateway: Gateway, certificate: Path, tmp_path: Path
) -> None:
    name, changes = NO_NODE[case]
    with deployed(name, gateway, free_port(), tmp_path, certificate, changes) as proxy:
        async with proxy.client() as http:
            for path, headers in (
                ("/ws/chat?token=SECRET", {}),
                ("/ws/chat?ticket=SECRET", {}),
                ("/ws/chat", {"Sec-WebSocket-Protocol": "bearer.SECRET"}),
                ("/ws/chat", {"Authorization": "Bearer SECRET"}),
                ("/ws/chat", {"Cookie": "session=SECRET"}),
                ("/hook/SECRET", {}),
                ("/nothing/here", {}),
            ):
                assert (await http.get(path, headers=headers)).status_code in {502, 503}
        await until(lambda: "/nothing/here" in proxy.logged())
        assert ("http.log.error" in proxy.logged()) == (name == "caddy")
        assert "SECRET" not in proxy.logged()


async def test_the_address_that_a_client_claims_is_not_believed(proxy: Proxy) -> None:
    claim = {"username": "carol", "password": PASSWORD}
    async with proxy.client() as http:
        await http.post("/users", json=claim)
        assert (await http.post("/token", data=claim, headers={"X-Forwarded-For": "203.0.113.7"})).status_code == 200
    told = (proxy.gateway.settings.data_dir / "audit.log").read_text()
    assert "carol" in told
    assert "127.0.0.1" in told
    assert "203.0.113.7" not in told


async def test_a_page_of_the_gateway_itself_is_let_in_and_that_of_another_port_is_not(proxy: Proxy) -> None:
    async with proxy.client() as http:
        token = await log_in(http, "dora")
        async with proxy.socket(f"/ws/chat?token={token}", Origin=f"https://localhost:{proxy.port}") as client:
            await client.expect("welcome", user="dora")
        async with proxy.socket(f"/ws/chat?token={token}", Origin="https://localhost:1") as client:
            await client.expect("error", status=40300)
            await client.expect("bye", code=1008, reason="forbidden_origin")


async def test_what_is_for_those_inside_is_not_shown_outside(proxy: Proxy) -> None:
    async with proxy.client() as http:
        assert (await http.get("/readyz")).status_code == 404
        assert (await http.get("/metrics")).status_code == 404


async def test_a_body_of_a_megabyte_is_refused(proxy: Proxy) -> None:
    async with proxy.client() as http:
        for path in ("/users", "/call/chat.send", "/hook/x"):
            assert (await http.post(path, content=b"x" * 1_000_000)).status_code == 413
        assert (await http.post("/api/batch", content=b"x" * 1_100_000)).status_code == 413


async def test_a_long_message_and_a_long_batch_pass(proxy: Proxy, gateway: Gateway) -> None:
    key = await add_service(gateway, f"orders-{proxy.port}", "api:publish")
    async with proxy.client() as http:
        message = {"room": "nowhere", "body": "x" * 50_000}
        token = await log_in(http, "frank")
        answer = await http.post("/call/chat.send", json=message, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 404
        items = [{"operation": "publish", "data": {"rooms": ["nowhere"], "message": {"body": "x" * 9_000}}}] * 100
        answer = await http.post("/api/batch", json={"items": items}, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 100


# What the two forwarded before they left out all offers but that of a WebSocket.
FORWARDS_ALL = {
    "nginx": {
        "Upgrade $upgrade;": "Upgrade $http_upgrade;",
        "map $upgrade $connection": "map $http_upgrade $connection",
    },
    "caddy": {"request_header @websocket Upgrade websocket": "", "request_header @no_websocket -Upgrade": ""},
}
FORWARDS_ALL["nginx"]["default '';\n        websocket upgrade;"] = "default upgrade;\n        '' '';"


@pytest.mark.parametrize("configuration", ["as it is", "forwards all upgrades"])
@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_no_body_becomes_a_request_and_no_answer_goes_to_another_client(
    name: str, configuration: str, gateway: Gateway, certificate: Path, tmp_path: Path
) -> None:
    changes = FORWARDS_ALL[name] if configuration == "forwards all upgrades" else {}
    rounds = 6
    victim, smuggled = (f"{word}-{name}-{len(changes)}" for word in ("victim", "smuggled"))
    async with Relay(gateway.port, cuts=0.02) as relay:
        with deployed(name, gateway, relay.port, tmp_path, certificate, changes) as proxy:
            async with proxy.client() as http:
                await log_in(http, victim)
                attacker = asyncio.create_task(_attack(proxy, smuggled, rounds))
                for _ in range(rounds):
                    headers = {"Authorization": f"Bearer {await log_in(http, victim)}"}
                    sessions = await http.get("/users/me/sessions", headers=headers)
                    assert sessions.status_code == 200, sessions.text
                answers = await attacker
                refused = await http.post("/token", data={"username": smuggled, "password": PASSWORD})
    assert refused.status_code == 401
    assert b"access_token" not in answers
    assert answers.count(b"HTTP/1.1 401 ") == answers.count(b"HTTP/1.1 ") == rounds
    offered = re.search(rb"(?i)upgrade: *h2c", relay.asked)
    assert (offered is not None) == (configuration == "forwards all upgrades")


async def _attack(proxy: Proxy, smuggled: str, rounds: int) -> bytes:
    """Send log-ins that fail, each with a registration as its body, and return all answers."""
    account = json.dumps({"username": smuggled, "password": PASSWORD})
    body = (
        "POST /users HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(account)}\r\n\r\n{account}"
    )
    head = (
        f"POST /ws/ticket HTTP/1.1\r\nHost: localhost:{proxy.port}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answers = b""
    for _ in range(rounds):
        reader, writer = await asyncio.open_connection("localhost", proxy.port, ssl=proxy.trust)
        writer.write((head + body).encode())
        with suppress(TimeoutError):
            while True:
                data = await asyncio.wait_for(reader.read(65536), 0.3)
                if not data:
                    break
                answers += data
        writer.close()
    return answers
