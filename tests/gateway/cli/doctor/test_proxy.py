"""The way from the public address to a real gateway: proxies that lose, forge or hold back."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.x509 import IPAddress

from gateway.cli.doctor.findings import Finding, Verdict
from gateway.cli.doctor.proxy import public_address
from gateway.cli.doctor.subject import Subject
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.cli.doctor.conftest import bad, settings_for, worst
from tests.support.certificate import certificate
from tests.support.raw_server import pass_both, raw_server

Change = Callable[[bytes], bytes]


@asynccontextmanager
async def proxy(
    gateway: Gateway, change: Change, *, answers: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run a proxy that changes the head of each request, or that answers all of them itself."""
    target = urlsplit(gateway.url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if answers:
            writer.write(answers)
            return
        there, out = await asyncio.open_connection(target.hostname, target.port)
        if b"upgrade:" not in head.lower():
            head = head.replace(b"keep-alive", b"close").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        out.write(change(head))
        await pass_both(reader, writer, there, out)

    async with raw_server(serve, tls=tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def adding(line: bytes, *, without: bytes = b"\0") -> Change:
    """Return a change that adds a header, and removes others that begin so."""

    def change(head: bytes) -> bytes:
        lines = [each for each in head[:-4].split(b"\r\n") if not each.lower().startswith(without)]
        return b"\r\n".join([*lines, line, b"", b""])

    return change


async def ask(gateway: Gateway, folder: Path, url: str) -> list[Finding]:
    """Let the doctor ask a running gateway at an address."""
    settings = settings_for(folder, data_dir=gateway.state.settings.data_dir)
    return [finding async for finding in public_address(Subject(settings, url=url))]


async def test_a_gateway_without_a_proxy_or_behind_a_good_one(own_gateway: OwnGateway, tmp_path: Path) -> None:
    gateway = own_gateway()
    found = await ask(gateway, tmp_path, gateway.url)
    assert worst(found) is Verdict.OK
    assert "a WebSocket comes through" in found[-1].found
    behind = own_gateway(trusted_proxies="127.0.0.1")
    good = adding(b"X-Forwarded-For: 198.51.100.7", without=b"x-forwarded-for")
    async with proxy(behind, good) as url:
        found = await ask(behind, tmp_path, url)
        assert worst(found) is Verdict.OK
        assert "198.51.100.7, through 127.0.0.1" in found[-2].found


async def test_a_certificate_of_an_own_authority(
    own_gateway: OwnGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = own_gateway(trusted_proxies="127.0.0.1")
    authority, tls = certificate(tmp_path, IPAddress(ip_address("127.0.0.1")))
    forwarded = adding(b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https", without=b"x-forwarded")
    async with proxy(gateway, forwarded, tls=tls) as url:
        found = bad(await ask(gateway, tmp_path, url))
        assert found.found == f"the certificate of {url} is not trusted (self-signed certificate)"
        assert "SSL_CERT_FILE=" in found.change
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        trusted = await ask(gateway, tmp_path, url)
        assert worst(trusted) is Verdict.OK
        assert "a WebSocket comes through" in trusted[-1].found


async def test_a_public_address_without_tls(own_gateway: OwnGateway, tmp_path: Path) -> None:
    gateway = own_gateway()
    found = bad(await ask(gateway, tmp_path, gateway.url.replace("http:", "https:")))
    assert "does not speak TLS" in found.found


async def test_a_proxy_that_the_gateway_does_not_believe(own_gateway: OwnGateway, tmp_path: Path) -> None:
    gateway = own_gateway()
    async with proxy(gateway, adding(b"X-Forwarded-For: 198.51.100.7")) as url:
        assert bad(await ask(gateway, tmp_path, url)).change == "GATEWAY_TRUSTED_PROXIES=127.0.0.1"


async def test_a_proxy_that_lets_clients_forge_addresses_or_changes_the_scheme(
    own_gateway: OwnGateway, tmp_path: Path
) -> None:
    gateway = own_gateway(trusted_proxies="127.0.0.1")
    assert "can choose the address" in bad(await ask(gateway, tmp_path, gateway.url)).found
    forwarded = b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https"
    async with proxy(gateway, adding(forwarded, without=b"x-forwarded")) as url:
        assert "https:// in place of http://" in bad(await ask(gateway, tmp_path, url)).found


async def test_a_proxy_that_loses_the_upgrade(own_gateway: OwnGateway, tmp_path: Path) -> None:
    gateway = own_gateway()
    async with proxy(gateway, adding(b"X-A: b", without=b"upgrade")) as url:
        found = bad(await ask(gateway, tmp_path, url))
        assert "no WebSocket comes through" in found.found
        assert "Upgrade" in found.change


@pytest.mark.parametrize(
    "answers",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 301 Moved\r\nlocation: https://elsewhere.example.com/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_address_where_no_gateway_answers(own_gateway: OwnGateway, tmp_path: Path, answers: bytes) -> None:
    gateway = own_gateway()
    async with proxy(gateway, adding(b"X-A: b"), answers=answers) as url:
        assert worst(await ask(gateway, tmp_path, url)) is Verdict.PROBLEM


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9", "chat.example.com", "ftp://chat.example.com", "https://a:secret@b.example", "https://", ""],
)
@pytest.mark.server
async def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    subject = Subject(settings_for(tmp_path), url=url)
    found = bad([finding async for finding in public_address(subject)])
    assert found.verdict is Verdict.PROBLEM
    assert "secret" not in found.found + found.change


async def test_without_an_address_nothing_is_asked(tmp_path: Path) -> None:
    found: list[Any] = [each async for each in public_address(Subject(settings_for(tmp_path)))]
    assert worst(found) is Verdict.OK
