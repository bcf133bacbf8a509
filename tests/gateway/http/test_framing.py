"""Clients that offer HTTP/2 over plain HTTP, and requests with a missing or a second `Host`."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.client import PASSWORD, App
from tests.support.lacking import program
from tests.support.wire import handshake, opened, rest

JAVA = """
import java.net.URI;
import java.net.http.*;

class LogIn {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString(arguments[1])).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
"""


def run(*command: str) -> str:
    name, *arguments = command
    path = program(name, {"java": "default-jdk-headless"}.get(name))
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_curl_that_offers_http_2_logs_in(app: App, alice: str) -> None:
    await app.token(alice)
    form = f"username={alice}&password={PASSWORD}"
    answer = run("curl", "-sS", "--http2", "--max-time", "20", "-d", form, f"{app.gateway.url}/token")
    assert json.loads(answer)["token_type"] == "bearer"


async def test_javas_own_client_logs_in(app: App, alice: str, tmp_path: Path) -> None:
    await app.token(alice)
    (tmp_path / "LogIn.java").write_text(JAVA)
    form = f"username={alice}&password={PASSWORD.replace(' ', '+')}"
    answer = run("java", str(tmp_path / "LogIn.java"), f"{app.gateway.url}/token", form)
    assert answer.startswith("200 "), answer
    assert json.loads(answer[4:])["token_type"] == "bearer"


@pytest.mark.parametrize(("hosts", "got"), [(b"", 0), (b"Host: a\r\nHost: a\r\n", 2), (b"Host: a\r\nhost: b\r\n", 2)])
async def test_a_request_needs_one_host(app: App, hosts: bytes, got: int) -> None:
    async with opened(app.gateway, b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n") as (reader, _):
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["message"] == f"expected one Host header, got {got} (RFC 9112 section 3.2)"


async def test_so_does_a_handshake(app: App, alice: str) -> None:
    token = await app.token(alice)
    for data in (
        handshake(token).replace(b"Host: localhost\r\n", b""),
        handshake(token).replace(b"Host", b"Host: localhost\r\nHost"),
    ):
        async with opened(app.gateway, data) as (reader, _):
            assert (await rest(reader)).startswith(b"HTTP/1.1 400 ")


async def test_a_request_of_http_1_0_needs_none(app: App) -> None:
    async with opened(app.gateway, b"GET /healthz HTTP/1.0\r\n\r\n") as (reader, _):
        assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_would_be_no_proxys_tunnel_is_told_so(app: App) -> None:
    async with opened(app.gateway, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n") as (reader, _):
        assert (await rest(reader)).startswith(b"HTTP/1.1 501 ")
