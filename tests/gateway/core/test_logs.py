"""Log lines: whole, on one line, and without a credential."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn.logging import AccessFormatter

from gateway.core.folding import LINES_A_MINUTE
from gateway.core.logs import (
    TRACEBACKS_A_MINUTE,
    FoldingHandler,
    JsonFormatter,
    RedactingFilter,
    TextFormatter,
    client_address,
    redact,
)
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App

TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJnYXRld2F5Iiwic3ViIjoiMSJ9.c2lnbmF0dXJlLW9mLTMyLWJ5dGVz"


@pytest.mark.parametrize(
    "line",
    [
        f'"WebSocket /ws/chat?token={TOKEN}" [accepted]',
        f"GET /ws/chat?service=a&token={TOKEN}&x=1 HTTP/1.1",
        f"Authorization: Bearer {TOKEN}",
        f"authorization: bearer {TOKEN}",
        f'{{"token":"{TOKEN}"}}',
        f"b'{TOKEN}'",
        f"cut short: {TOKEN[:60]}",
        f"cut shorter: {TOKEN[:30]}...",
        "?token=not-even-a-jwt-but-20-characters",
        "POST /hook/gwk_0123456789abcdef_not-even-a-jwt-but-20-characters HTTP/1.1",
        "POST /hook/gw%6b_0123456789abcdef%5fnot-even-a-jwt-but-20-characters?x=1 HTTP/1.1",
        "the key gwk_0123456789abcdef_not-even-a-jwt-but-20-characters is here",
        "client_id=orders&client_secret=gwk_0123456789abcdef_not-even-a-jwt-but-20-characters",
        f"the secret whsec_{TOKEN.rpartition('.')[2]}== is here",
        "?token=a'not-even-a-jwt-but-20-characters",
        "GET /ws/chat?service=a&%74oken=not-even-a-jwt-but-20-characters HTTP/1.1",
        f"/ws/chat?x=%20&%74o%6ben=%65{TOKEN[1:]}",
        "'query_string': b'%74%69cket=not-even-a-jwt-but-20-characters'",
        "Authorization: Bearer not-even-a-jwt-but-20-characters",
        "ticket=not-even-a-jwt-but-20-characters",
        "username=alice&password=not-even-a-jwt-but-20",
        "< Sec-WebSocket-Protocol: gateway.v1, bearer.not-even-a-jwt-but-20-characters",
        "'subprotocols': ['gateway.v1', 'bearer.not-even-a-jwt-but-20-characters']",
        "/ws/chat?access_token=not-even-a-jwt-but-20-characters",
        "/ws/chat?accessToken=not-even-a-jwt-but-20-characters&x=1",
        "/ws/chat?jwt=not-even-a-jwt-but-20-characters",
        "/ws/chat?authorization=Bearer%20not-even-a-jwt-but-20-characters",
        "/ws/chat?auth=not-even-a-jwt-but-20-characters",
        "/ws/chat?api_key=not-even-a-jwt-but-20-characters",
        "< Authorization: Basic not-even-a-jwt-but-20-characters",
        "< authorization: not-even-a-jwt-but-20-characters",
        "< proxy-authorization: Basic not-even-a-jwt-but-20-characters",
        "< X-API-Key: not-even-a-jwt-but-20-characters",
        "< X-Auth-Token: not-even-a-jwt-but-20-characters",
        "< Authorization: Token not-even-a-jwt-but-20-characters",
        "< Sec-WebSocket-Protocol: access_token, not-even-a-jwt-but-20-characters",
        "'subprotocols': ['access_token', 'not-even-a-jwt-but-20-characters'], 'x': 1",
        "< Cookie: theme=dark; session=not-even-a-jwt-but-20-characters",
        """< TEXT '{"type":"auth","data":{"token":"not-even-a-jwt-but-20-characters"}}' [71 bytes]""",
        """< TEXT '{"type":"auth","data":{"token":"e...not-even-a-jwt-but-20-characters"}}' [471 bytes]""",
        """< CONT 'not-even-a-jwt-but-20-characters"}}' [text, 35 bytes]""",
    ],
)
def test_a_credential_is_redacted_wherever_it_stands(line: str) -> None:
    redacted = redact(line)
    assert "[redacted]" in redacted
    for start in range(len(TOKEN) - 20):
        assert TOKEN[start : start + 20] not in redacted
    assert "not-even" not in redacted


@pytest.mark.parametrize(
    "line",
    [
        "a token is not valid",
        "< Sec-WebSocket-Protocol: gateway.v1",
        "'subprotocols': ['gateway.v1'], 'x': []",
        "/ws/chat?service=gateway",
        "expected 12 tokens",
        "hey JSON",
        "100%",
        "/a%20b?c=%64",
    ],
)
def test_other_lines_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


def test_what_is_beside_a_credential_stays_readable() -> None:
    assert redact("?token=secret&service=a%20b") == "?token=[redacted]&service=a%20b"


def test_the_lines_of_another_server_keep_their_parts() -> None:
    record = _record('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", f"/nothing?token={TOKEN}", "1.1", 404)
    assert RedactingFilter().filter(record)
    assert (
        AccessFormatter("%(request_line)s", use_colors=False).format(record) == "GET /nothing?token=[redacted] HTTP/1.1"
    )
    assert record.getMessage() == '127.0.0.1:5 - "GET /nothing?token=[redacted] HTTP/1.1" 404'


def _record(message: str, *args: object, exc_info: bool = False) -> logging.LogRecord:
    info = sys.exc_info() if exc_info else None
    return logging.LogRecord("a.logger", logging.INFO, __file__, 1, message, args, info)


def test_nobody_can_write_a_second_line_into_the_log() -> None:
    line = TextFormatter().format(_record("refused %s", "x\n2026-01-01 INFO forged\r\nagain"))
    assert "\n" not in line
    assert "\r" not in line
    assert "\\n2026-01-01 INFO forged" in line
    assert "\n" not in JsonFormatter().format(_record("refused %s", "x\nforged"))


def test_a_json_line_has_its_parts() -> None:
    entry = json.loads(JsonFormatter().format(_record("accepted %s", f"?token={TOKEN}")))
    assert (entry["level"], entry["logger"], entry["request_id"]) == ("info", "a.logger", "-")
    assert entry["message"] == "accepted ?token=[redacted]"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_is_redacted_too(formatter: logging.Formatter) -> None:
    try:
        int(TOKEN)
    except ValueError:
        line = formatter.format(_record("failed", exc_info=True))
    assert "ValueError" in line
    assert TOKEN not in line


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All log lines of the gateway and its server, at every level, for a handler that is not the gateway's."""
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    root = logging.getLogger()
    names = ["uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gateway", "sqlalchemy.engine"]
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(5)
    yield sink
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_no_token_and_no_password_reaches_any_log_line(
    own_gateway: OwnGateway, everything_logged: io.StringIO
) -> None:
    gateway = own_gateway(options={"log_level": 5})
    async with App(gateway) as app:
        await app.register("alice")
        await app.log_in("alice", "a wrong password of mine")
        token = await app.token("alice")
        garbled = token[:-5] + "AAAAA"
        for query in (f"?token={token}", f"?token={garbled}", f"?service=none&token={token}"):
            async with app.socket(query) as client:
                await client.next()
        for credential in (token, garbled):
            headers = {"Authorization": f"Bearer {credential}"}
            await app.http.get("/users/me", headers=headers)
            async with app.socket(additional_headers=headers) as client:
                await client.next()
        await app.http.get(f"/nothing?token={token}")
    log = everything_logged.getvalue()
    assert '"WebSocket /ws/chat" [accepted]' in log
    assert PASSWORD not in log
    assert "a wrong password of mine" not in log
    found = [token[start : start + 20] for start in range(len(token) - 20) if token[start : start + 20] in log]
    assert not found


@pytest.mark.parametrize("protocol", ["gateway", "wsproto"])
async def test_no_credential_of_any_carrier_reaches_any_log_line(
    own_gateway: OwnGateway, everything_logged: io.StringIO, protocol: str
) -> None:
    options = {"log_level": 5} if protocol == "gateway" else {"log_level": 5, "ws": protocol}
    gateway = own_gateway(options=options, allowed_origins=("https://app.example.com",))
    async with App(gateway) as app:
        token = await app.token("alice")
        bearer = {"Authorization": f"Bearer {token}"}
        tickets = [(await app.http.post("/ws/ticket", headers=bearer)).json()["ticket"] for _ in range(2)]
        unknown = "An-opaque-token-of-somebody-else-or-a-mistake"
        secrets = [token, token[:-5] + "AAAAA", *tickets, unknown]
        for secret in [*secrets, tickets[0]]:
            cookie = {"Origin": "https://app.example.com", "Cookie": f"theme=dark; session={secret}; a=b"}
            for query, handshake in (
                (f"?token={secret}&service=gateway", {}),
                (f"?ticket={secret}", {}),
                (f"?%74oken=%{ord(secret[0]):x}{secret[1:]}", {}),
                (f"?%74icket={secret}", {}),
                ("", {"additional_headers": {"Authorization": f"Bearer {secret}"}}),
                ("", {"subprotocols": ["gateway.v1", f"bearer.{secret}"]}),
                ("", {"additional_headers": cookie}),
                (f"?access_token={secret}", {}),
                (f"?jwt={secret}", {}),
                ("", {"subprotocols": ["access_token", secret]}),
                ("", {"additional_headers": {"X-Auth-Token": secret}}),
                ("", {"additional_headers": {"Authorization": f"Token {secret}"}}),
            ):
                async with app.socket(query, **handshake) as client:
                    await client.next()
            async with app.socket() as client:
                await client.send({"type": "auth", "id": 1, "data": {"token": secret}})
                await client.next()
            async with app.connect("alice") as client:
                await client.until(id=await client.start("auth.refresh", token=secret))
                await client.until(id=await client.start("auth", token=secret, unknown=1))
                await client.ws.send(part for part in ('{"type":"auth.refresh","data":{"token":"', secret, '"}}'))
                await client.ask("ping") if secret == token else await client.expect("error")
    log = everything_logged.getvalue()
    assert "[redacted]" in log
    found = {secret[start : start + 20] for secret in secrets for start in range(len(secret) - 19)}
    assert [line for line in log.splitlines() if any(part in line for part in found)] == []


class Log:
    """The command's standard error, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handler = FoldingHandler(lambda: self.now)
        self.handler.setFormatter(TextFormatter())
        self.written = io.StringIO()
        self.handler.setStream(self.written)

    def write(self, message: str, *args: object, by: str | None = None, **more: Any) -> None:
        """Write a line that a client at this address has caused."""
        token = client_address.set(by)
        record = _record(message, *args, exc_info=more.pop("exc_info", False))
        vars(record).update(more)
        self.handler.handle(record)
        client_address.reset(token)

    def lines(self) -> list[str]:
        """Return what has been written, without times."""
        written, self.written = self.written, io.StringIO()
        self.handler.setStream(self.written)
        return [line.partition(" - ")[2] for line in written.getvalue().splitlines()]


def test_one_client_cannot_flood_the_log_and_the_lines_of_others_are_written() -> None:
    log = Log()
    for number in range(1000):
        log.write("refused a WebSocket: %s", number, by="192.0.2.1")
    log.write("refused a WebSocket: %s", "another", by="192.0.2.2")
    log.write("the bus is back")
    lines = log.lines()
    assert lines[:LINES_A_MINUTE] == [f"a.logger: refused a WebSocket: {number}" for number in range(LINES_A_MINUTE)]
    assert lines[LINES_A_MINUTE:] == ["a.logger: refused a WebSocket: another", "a.logger: the bus is back"]
    log.now = 61
    log.write("the bus is away")
    assert log.lines() == [
        f"a.logger: left out {1000 - LINES_A_MINUTE} more lines like 'refused a WebSocket: %s' that 192.0.2.1 caused",
        "a.logger: the bus is away",
    ]


def test_what_was_left_out_is_said_at_the_end_too() -> None:
    log = Log()
    for _ in range(LINES_A_MINUTE + 5):
        log.write("refused %s", "x", by="192.0.2.1")
    log.lines()
    log.handler.close()
    assert "left out 5 more lines like 'refused %s' that 192.0.2.1 caused" in log.written.getvalue()


def test_lines_that_are_put_together_before_are_of_one_kind_by_their_place_in_the_code() -> None:
    log = Log()
    for number in range(1000):
        log.write(f"Task exception was never retrieved: <Task {number}>")
    assert len(log.lines()) == LINES_A_MINUTE


def test_of_tracebacks_few_are_written() -> None:
    log = Log()
    for _ in range(100):
        try:
            int("not a number")
        except ValueError:
            log.write("a handler failed", by="192.0.2.1", exc_info=True)
    assert log.written.getvalue().count("Traceback") == TRACEBACKS_A_MINUTE


@pytest.mark.parametrize("asked_for", [{"levelno": logging.DEBUG}, {"name": "uvicorn.access"}])
def test_what_an_operator_asks_for_is_written_whole(asked_for: dict[str, Any]) -> None:
    log = Log()
    for number in range(1000):
        log.write("GET %s", number, by="192.0.2.1", **asked_for)
    assert len(log.lines()) == 1000
