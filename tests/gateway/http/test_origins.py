"""The pages that may open a WebSocket: the gateway's own, and those of the origins that the operator allows."""

import json
from collections.abc import Iterator

import pytest
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from gateway.config.allowed_origins import AllowedOrigins
from gateway.core.folding import client_log
from gateway.http.origins import ForbiddenOrigin, check_origin
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.conftest import OwnGateway
from tests.support.client import App

pytestmark = pytest.mark.server

EXACT = ("https://app.example.com", "http://localhost:3000", "capacitor://localhost", "http://[::1]:3000", "file://")
ALLOWED = (*EXACT, "https://*.tenants.example")
WRITTEN = (*EXACT, "https://a.tenants.example", "wss://App.example.com:443", "HTTP://localhost:3000")

WRONG = {
    "another site": "https://evil.example",
    "one that begins like an allowed one": "https://app.example.com.evil",
    "one that ends like an allowed one": "https://evil-app.example.com",
    "a subdomain": "https://www.app.example.com",
    "the domain above": "https://example.com",
    "another scheme": "http://app.example.com",
    "another port": "https://app.example.com:8443",
    "the other scheme's own port": "https://app.example.com:80",
    "no port where there is one": "http://localhost",
    "two labels before a wildcard": "https://a.b.tenants.example",
    "the name after a wildcard": "https://tenants.example",
    "one that ends like the name after a wildcard": "https://evil-tenants.example",
    "a dot at the end": "https://app.example.com.",
    "a slash at the end": "https://app.example.com/",
    "a user": "https://app.example.com@evil.example",
    "null": "null",
    "nothing": "",
    "a star": "*",
    "two in one header": "https://app.example.com https://evil.example",
    "two with a comma": "https://app.example.com, https://evil.example",
    "letters that only look alike": "https://\u0430pp.example.com".encode().decode("latin-1"),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("origins")
    with running_gateway(settings_for_tests(folder, allowed_origins=ALLOWED)) as gateway:
        yield gateway


@pytest.mark.parametrize("origin", WRONG.values(), ids=WRONG)
async def test_a_wrong_origin_is_refused_even_with_a_good_token(app: App, alice: str, origin: str) -> None:
    token = await app.token(alice)
    async with app.socket(f"?token={token}", additional_headers={"Origin": origin}) as client:
        error = await client.expect("error", id=None, status=40300, name="forbidden", retryable=False)
        assert "GATEWAY_ALLOWED_ORIGINS" in error["message"]
        await client.expect("bye", code=1008, reason="forbidden_origin", reconnect="never")
        await client.expect_close(1008, "forbidden_origin")


@pytest.mark.parametrize("origin", [*WRITTEN, None])
async def test_an_allowed_origin_and_none_at_all_are_fine(app: App, alice: str, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    async with app.socket(f"?token={await app.token(alice)}", additional_headers=headers) as client:
        await client.expect("welcome", user=alice)


@pytest.mark.parametrize("origin", ["https://evil.example", "file:///", "null", "wss://elsewhere.example:443"])
async def test_an_app_with_the_header_may_send_any_origin_since_no_page_can_set_that(
    app: App, alice: str, origin: str
) -> None:
    token = await app.token(alice)
    bearer = {"Authorization": f"Bearer {token}", "Origin": origin}
    async with app.socket(additional_headers=bearer) as client:
        await client.expect("welcome", user=alice)
    # Headers that a browser adds by itself are not that header: the password of a proxy's realm, and cookies.
    for other in ({"Authorization": "Basic YWxpY2U6eA=="}, {"Cookie": f"session={token}"}):
        async with app.socket(additional_headers=other | {"Origin": origin}) as client:
            await client.expect("error", status=40300)


async def test_the_gateways_own_origin_may_be_written_as_the_urls_of_sockets_are(app: App, alice: str) -> None:
    own = f"{app.gateway.host}:{app.gateway.port}"
    for origin in (f"http://{own}", f"ws://{own}", f"WS://{own}"):
        async with app.socket(f"?token={await app.token(alice)}", additional_headers={"Origin": origin}) as client:
            await client.expect("welcome", user=alice)


@pytest.mark.parametrize("origin", [*WRITTEN, "http://localhost:1", *WRONG.values()])
async def test_a_page_reads_the_http_api_if_and_only_if_it_may_connect(app: App, origin: str) -> None:
    preflight = [(b"Origin", origin.encode("latin-1")), (b"Access-Control-Request-Method", b"POST")]
    answers = [
        await app.http.options("/token", headers=preflight),
        await app.http.post("/token", data={"username": "x", "password": "x"}, headers=preflight[:1]),
    ]
    allowed = [answer.headers.get("Access-Control-Allow-Origin") for answer in answers]
    assert allowed == ([origin] * 2 if origin in WRITTEN else [None] * 2)


async def test_a_refused_page_is_logged_with_the_line_to_add_and_floods_nothing(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = own_gateway(allowed_origins=("https://app.example.com",))
    line = "add GATEWAY_ALLOWED_ORIGINS=https://app.example.com,https://new.example.com"
    async with App(gateway) as app:
        for _ in range(3):
            form = {"username": "alice", "password": "x"}
            await app.http.post("/token", data=form, headers={"Origin": "https://new.example.com"})
        assert [line in message for message in caplog.messages] == [True]
        async with app.socket(additional_headers={"Origin": "https://new.example.com"}) as client:
            await client.expect("error", status=40300)
        assert [line in message for message in caplog.messages if "refused a page" in message] == [True, True]
        caplog.clear()
        for number in range(100):
            forged = f"https://{number}.example\u2028ERROR forged: GATEWAY_SECRET_KEY=x".encode().decode("latin-1")
            await app.http.get("/healthz", headers=[(b"Origin", forged.encode("latin-1"))])
        assert 0 < len(caplog.messages) < 20
        assert all("no setting can allow it" in message and message.isascii() for message in caplog.messages)


async def test_the_gateways_own_page_is_no_refusal_whatever_ends_tls(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    for scheme in ("http", "https"):
        origin = f"{scheme}://{app.gateway.host}:{app.gateway.port}"
        await app.http.post("/token", data={"username": "x"}, headers={"Origin": origin})
    assert not caplog.messages


async def test_the_origin_is_looked_at_first_so_nothing_is_used_up(app: App, alice: str) -> None:
    headers = {"Authorization": f"Bearer {await app.token(alice)}"}
    ticket = (await app.http.post("/ws/ticket", headers=headers)).json()["ticket"]
    async with app.socket(f"?ticket={ticket}", additional_headers={"Origin": "https://evil.example"}) as client:
        await client.expect("error", status=40300)
    async with app.socket(additional_headers={"Origin": "https://evil.example"}) as client:
        await client.expect("error", status=40300)  # at once, without a wait for a first message
    async with app.socket(f"?ticket={ticket}", additional_headers={"Origin": ALLOWED[0]}) as client:
        await client.expect("welcome", user=alice)


async def test_two_origins_are_refused(app: App, own_gateway: OwnGateway, alice: str) -> None:
    twice = [("Origin", ALLOWED[0])] * 2
    with pytest.raises(InvalidStatus) as refused:
        async with app.socket(f"?token={await app.token(alice)}", additional_headers=twice):
            pass
    assert refused.value.response.status_code == 400  # in the WebSocket library, and this one lets them through:
    async with App(own_gateway(allowed_origins=ALLOWED, options={"ws": "wsproto"})) as app:
        async with app.socket(f"?token={await app.token(alice)}", additional_headers=twice) as client:
            await client.expect("error", status=40300)
            await client.expect("bye", reason="forbidden_origin")


def connection(*headers: tuple[str, str]) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return HTTPConnection({"type": "websocket", "scheme": "ws", "path": "/ws/chat", "headers": raw})


def check(connection: HTTPConnection) -> None:
    check_origin(connection, AllowedOrigins(()), client_log())


@pytest.mark.parametrize("hosts", [[], [""], ["localhost", "localhost"]])
def test_without_one_clear_host_no_origin_is_the_gateways_own(hosts: list[str]) -> None:
    with pytest.raises(ForbiddenOrigin):
        check(connection(("origin", "http://localhost"), *(("host", host) for host in hosts)))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        *(("localhost", "http://localhost"), ("localhost:80", "http://localhost"), ("[::1]:8000", "http://[::1]:8000")),
        *(("LocalHost", "http://localhost"), ("localhost", "http://localhost:80"), ("localhost", "ws://localhost:80")),
    ],
)
def test_the_gateways_own_pages_may_connect(host: str, origin: str) -> None:
    check(connection(("origin", origin), ("host", host)))


@pytest.mark.parametrize(("trusted", "is_believed"), [("127.0.0.1", True), ("10.0.0.1", False), ("", False)])
async def test_only_a_trusted_proxy_can_say_that_it_ends_tls(
    own_gateway: OwnGateway, trusted: str, is_believed: bool
) -> None:
    gateway = own_gateway(trusted_proxies=trusted, root_path="/gateway")
    async with App(gateway) as app:
        for scheme, is_own in (("https", is_believed), ("http", not is_believed)):
            headers = {"Origin": f"{scheme}://{gateway.host}:{gateway.port}", "X-Forwarded-Proto": "https"}
            async with app.socket("?token=none", additional_headers=headers) as client:
                await client.expect("error", status=40001 if is_own else 40300)


async def test_a_wrong_origin_can_be_a_plain_403_too(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(handshake_rejection="http")) as app:
        with pytest.raises(InvalidStatus) as refused:
            async with app.socket(additional_headers={"Origin": "https://evil.example"}):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["status"] == 40300
