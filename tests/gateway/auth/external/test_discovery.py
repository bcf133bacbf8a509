"""Discovery: an issuer says where its keys are. A lie, a redirect or a huge answer finds nothing."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from gateway.auth.external.discovery import REDISCOVER_SECONDS, DiscoveredDocument
from gateway.auth.external.keys_documents import DocumentAt
from gateway.config.external_services import Issuer
from gateway.config.internal_hosts import is_internal
from gateway.core.http_client import RequestFailed
from gateway.testing import Gateway
from gateway.testing.clock import MovableClock
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import ec_signer
from tests.support.client import App
from tests.support.issuer import FakeService, encoded, running_service

pytestmark = pytest.mark.server

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"

first, second = ec_signer("first"), ec_signer("second")


@pytest.fixture(scope="module")
def running() -> Iterator[FakeService]:
    with running_service() as service:
        yield service


@pytest.fixture
def issuer(running: FakeService) -> FakeService:
    running.keys = [first.jwk()]
    running.pages = {OPENID: running.discovery()}
    running.body, running.status, running.headers, running.hanging = None, 200, {}, False
    running.asked.clear()
    return running


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def document(issuer: FakeService, clock: MovableClock) -> AsyncIterator[DiscoveredDocument]:
    document = DiscoveredDocument(issuer.url, clock)
    yield document
    await document.close()


def paths(issuer: FakeService) -> list[str]:
    return [path for path, _, _ in issuer.asked]


# ---- finding ----


async def test_the_issuer_says_where_its_keys_are(issuer: FakeService, document: DiscoveredDocument) -> None:
    assert await document.fetch(5) == {"keys": issuer.keys}
    assert paths(issuer) == [OPENID, "/keys"]
    assert not any("authorization" in headers or "cookie" in headers for _, headers, _ in issuer.asked)


async def test_it_is_asked_again_after_an_hour_and_after_a_failure(
    issuer: FakeService, clock: MovableClock, document: DiscoveredDocument
) -> None:
    for _ in range(3):
        await document.fetch(5)
    assert paths(issuer).count(OPENID) == 1
    issuer.pages[OPENID] = issuer.discovery(jwks_uri=f"{issuer.url}/moved")
    clock.ahead = REDISCOVER_SECONDS
    await document.fetch(5)
    assert paths(issuer)[-2:] == [OPENID, "/moved"]
    issuer.pages |= {OPENID: issuer.discovery(jwks_uri=f"{issuer.url}/again"), "/moved": 404}
    with pytest.raises(RequestFailed, match="expected status 200, got 404"):
        await document.fetch(5)
    await document.fetch(5)
    assert paths(issuer)[-3:] == ["/moved", OPENID, "/again"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", [OPENID, OAUTH]),
        ("/", [OPENID, OAUTH]),
        ("/realms/chat", [f"/realms/chat{OPENID}", f"{OAUTH}/realms/chat"]),
        ("/realms/chat/", [f"/realms/chat{OPENID}", f"{OAUTH}/realms/chat"]),
    ],
)
async def test_the_document_has_two_places(
    issuer: FakeService, clock: MovableClock, path: str, asked: list[str]
) -> None:
    name = issuer.url + path
    for number, place in enumerate(asked, 1):
        issuer.asked.clear()
        issuer.pages = {place: issuer.discovery(issuer=name)}
        document = DiscoveredDocument(name, clock)
        assert await document.fetch(5) == {"keys": issuer.keys}
        assert paths(issuer) == [*asked[:number], "/keys"]
        await document.close()


# ---- bad answers ----

LIES: dict[str, Callable[[str], Any]] = {
    "another issuer": lambda _: "https://evil.example",
    "a slash more": lambda url: url + "/",
    "capitals": lambda url: url.upper(),
    "https": lambda url: url.replace("http:", "https:"),
    "a space": lambda url: url + " ",
    "a list of it": lambda url: [url],
    "none": lambda _: ...,
    "null": lambda _: None,
    "a number": lambda _: 7,
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_document_of_another_issuer_finds_nothing(
    issuer: FakeService, document: DiscoveredDocument, lie: str
) -> None:
    issuer.pages = {OPENID: issuer.discovery(issuer=LIES[lie](issuer.url)), OAUTH: issuer.discovery()}
    with pytest.raises(RequestFailed, match=f"^expected discovery for the issuer {issuer.url}, got "):
        await document.fetch(5)
    assert paths(issuer) == [OPENID]


async def test_a_slash_that_the_settings_have_must_be_in_the_document(issuer: FakeService, clock: MovableClock) -> None:
    document = DiscoveredDocument(issuer.url + "/", clock)
    with pytest.raises(RequestFailed, match=f"expected discovery for the issuer {issuer.url}/, got '{issuer.url}'$"):
        await document.fetch(5)


WRONG_KEYS: list[Any] = [
    ...,
    None,
    7,
    "",
    "keys",
    "/keys",
    "//127.0.0.1/keys",
    "http://keys.example/",
    "http://10.0.0.1/keys",
    "https://10.0.0.1/keys",
    "https://169.254.169.254/latest/meta-data",
    "https://[fe80::1]/",
    "https://0.0.0.0/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://127\u30020\u30020\u30021/",  # full stops of Chinese, which IDNA makes dots
    "https://\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14/",  # wide digits
    "https://\u24dbocalhost/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[::ffff:10.0.0.1]/",
    "https://vault/",
    "https://metadata.google.internal/",
    "https://printer.local./",
    "https://user:secret@login.example/",
    "https://login.example:99999/",
    "https://a..example/",
    "https://login.example/keys#fragment",
    "https://login.exa mple/",
    "https://login.example/\nHost: evil",
    "https://login.example/" + "x" * 2048,
    "file:///etc/passwd",
    "ftp://login.example/",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("wrong", WRONG_KEYS, ids=[str(number) for number in range(len(WRONG_KEYS))])
async def test_keys_at_a_place_that_is_none_are_not_fetched(
    issuer: FakeService, document: DiscoveredDocument, wrong: Any
) -> None:
    issuer.pages[OPENID] = issuer.discovery(jwks_uri=wrong)
    with pytest.raises(RequestFailed, match="expected an https URL of the issuer's own as `jwks_uri`, got ") as refused:
        await document.fetch(5)
    assert len(str(refused.value)) < 250
    assert "\n" not in str(refused.value)
    assert paths(issuer) == [OPENID]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:6379/keys",
        "https://127.0.0.1/keys",
        "https://localhost/keys",
        "https://keys.localhost./",
        "http://[::1]/keys",
        "http://login.example/keys",
    ],
)
async def test_an_issuer_elsewhere_does_not_send_the_gateway_to_its_own_machine(
    monkeypatch: pytest.MonkeyPatch, clock: MovableClock, url: str
) -> None:
    name = "https://login.example"

    async def answered(_: object, __: float) -> dict[str, Any]:
        return {"issuer": name, "jwks_uri": url}

    monkeypatch.setattr(DocumentAt, "fetch", answered)
    with pytest.raises(RequestFailed, match="expected an https URL of the issuer's own"):
        await DiscoveredDocument(name, clock).fetch(5)


async def test_an_issuer_on_this_machine_may_keep_its_keys_here_by_another_name(
    issuer: FakeService, clock: MovableClock
) -> None:
    name = issuer.url.replace("127.0.0.1", "localhost")
    issuer.pages[OPENID] = issuer.discovery(issuer=name)
    document = DiscoveredDocument(name, clock)
    assert await document.fetch(5) == {"keys": issuer.keys}
    await document.close()


async def test_an_issuer_with_https_has_its_keys_there_too(
    monkeypatch: pytest.MonkeyPatch, clock: MovableClock
) -> None:
    async def answered(_: object, __: float) -> dict[str, Any]:
        return {"issuer": "https://localhost", "jwks_uri": "http://localhost/keys"}

    monkeypatch.setattr(DocumentAt, "fetch", answered)
    with pytest.raises(RequestFailed, match="expected an https URL of the issuer's own"):
        await DiscoveredDocument("https://localhost", clock).fetch(5)


PUBLIC = (
    *("login.example", "1.1.1.1", "2606:4700::1111", "localhost.example", "0x7f.example", "bücher.example"),
    *("local.example", "64:ff9b::101:101", "::ffff:1.1.1.1", "keys.svc.example"),
)


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_is_not_internal(host: str) -> None:
    assert not is_internal(host)


NOT_FOUND: dict[str, bytes | int] = {
    "moved": 301,
    "moved for now": 302,
    "moved, with the method": 307,
    "an error": 500,
    "no content": 204,
    "huge": b'{"issuer": "' + b"x" * 200_000 + b'"}',
    "a page": b"<!doctype html>",
    "nothing": b"",
    "not UTF-8": b"\xff",
    "deep": b"[" * 5000,
    "a list": b"[]",
    "a key twice": b'{"issuer": "a", "issuer": "b"}',
    "NaN": b'{"issuer": NaN}',
}


@pytest.mark.parametrize("bad", NOT_FOUND)
async def test_an_answer_that_is_no_document_leads_to_the_other_place_and_nowhere_else(
    issuer: FakeService, document: DiscoveredDocument, bad: str
) -> None:
    issuer.pages = {OPENID: NOT_FOUND[bad], OAUTH: NOT_FOUND[bad]}
    issuer.headers = {"location": f"{issuer.url}/elsewhere"}
    with pytest.raises(
        RequestFailed, match=rf"^no discovery: expected .* from {issuer.url}{OPENID}; expected .*{OAUTH}$"
    ):
        await document.fetch(5)
    assert paths(issuer) == [OPENID, OAUTH]
    issuer.pages[OAUTH] = issuer.discovery()
    assert await document.fetch(5) == {"keys": issuer.keys}


async def test_an_issuer_that_does_not_answer_is_not_waited_for(
    issuer: FakeService, document: DiscoveredDocument
) -> None:
    issuer.hanging = True
    with pytest.raises(RequestFailed, match=r"^no answer within 0.3 seconds$"):
        await document.fetch(0.3)
    assert paths(issuer) == [OPENID]
    issuer.hanging = False


async def test_all_requests_together_have_the_time_of_one(monkeypatch: pytest.MonkeyPatch, clock: MovableClock) -> None:
    asked = []

    async def slow(place: DocumentAt, _: float) -> dict[str, Any]:
        asked.append(place.url)
        await asyncio.sleep(0.2)
        if place.url.endswith(OPENID):
            raise RequestFailed("expected status 200, got 404")
        return {"issuer": "https://login.example", "jwks_uri": "https://login.example/keys", "keys": []}

    monkeypatch.setattr(DocumentAt, "fetch", slow)
    with pytest.raises(RequestFailed, match=r"^no answer within 0.5 seconds$"):
        await DiscoveredDocument("https://login.example", clock).fetch(0.5)
    assert len(asked) <= 3


# ---- a gateway that uses it ----

Start = Callable[..., Gateway]


@pytest.fixture
def start(own_gateway: OwnGateway, issuer: FakeService) -> Start:
    def start(**settings: Any) -> Gateway:
        return own_gateway(issuers={"acme": {"issuer": issuer.url, "audience": "chat"}}, **settings)

    return start


async def answer_to(app: App, token: str) -> tuple[str, Any]:
    """Return what the gateway answers: the welcome's user, or the error's status."""
    async with app.socket(f"?service=acme&token={token}") as client:
        frame = await client.next()
        return ("user", frame["data"]["user"]) if frame["type"] == "welcome" else ("status", frame["status"])


async def test_a_user_comes_in_with_keys_that_discovery_has_found(start: Start, issuer: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        assert await answer_to(app, issuer.token(first)) == ("user", "carol")
        issuer.pages[OPENID] = issuer.discovery(jwks_uri=f"{issuer.url}/new")
        issuer.pages |= {"/keys": 404, "/new": encoded({"keys": [second.jwk()]})}
        gateway.clock.ahead = 30
        assert await answer_to(app, issuer.token(second)) == ("status", 50300)  # the old place fails
        gateway.clock.ahead = 60
        assert await answer_to(app, issuer.token(second)) == ("user", "carol")
        assert await answer_to(app, issuer.token(first)) == ("status", 40001)


async def test_a_failed_discovery_is_one_line_and_the_client_comes_back(
    start: Start, issuer: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.pages[OPENID] = issuer.discovery(issuer=f"{issuer.url}/")
    gateway = start()
    async with App(gateway) as app:
        token = issuer.token(first)
        for _ in range(3):
            assert await answer_to(app, token) == ("status", 50300)
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert lines == [
            "the keys of the service acme could not be fetched: expected discovery for the issuer"
            f" {issuer.url}, got '{issuer.url}/'"
        ]
        assert paths(issuer) == [OPENID]
        issuer.pages[OPENID] = issuer.discovery()
        gateway.clock.ahead = 5
        assert await answer_to(app, token) == ("user", "carol")
        # What is known stays good while the issuer lies again.
        issuer.pages[OPENID] = issuer.discovery(issuer="https://evil.example")
        gateway.clock.ahead = REDISCOVER_SECONDS + 60
        for signer, answer in ((second, ("status", 50300)), (first, ("user", "carol"))):
            assert await answer_to(app, issuer.token(signer, exp=int(time.time()) + 10_000)) == answer
    assert not any(token in line for line in caplog.messages)


async def test_a_gateway_starts_while_the_issuer_is_down(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with running_service() as issuer:
        port = int(issuer.url.rpartition(":")[2])
    gateway = own_gateway(issuers={"acme": {"issuer": issuer.url, "audience": "chat"}})
    async with App(gateway) as app:
        assert await answer_to(app, issuer.token(first)) == ("status", 50300)
        assert "the keys of the service acme could not be fetched: no answer: ConnectionRefusedError" in caplog.messages
        with running_service(port) as issuer:
            issuer.keys = [first.jwk()]
            issuer.pages[OPENID] = issuer.discovery()
            gateway.clock.ahead = 5
            assert await answer_to(app, issuer.token(first)) == ("user", "carol")


# ---- settings ----


@pytest.mark.parametrize(
    "name", ["https://login.example/realms/chat", "http://localhost:8080/", "https://login.example"]
)
def test_an_issuer_that_is_a_url_needs_no_other(name: str) -> None:
    assert Issuer.model_validate({"issuer": name, "audience": "chat"}).jwks_url is None


@pytest.mark.parametrize(
    "name",
    ["acme", "http://login.example", "https://login.example/?tenant=1", "https://login.example/#a", "login.example"],
)
def test_an_issuer_that_cannot_be_asked_needs_a_url_or_a_secret(name: str) -> None:
    with pytest.raises(ValueError, match="expected jwks_url, or a secret for HS256, or as the issuer an https URL"):
        Issuer.model_validate({"issuer": name, "audience": "chat"})
