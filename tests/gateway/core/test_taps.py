"""What a tap shows, and how little it may cost."""

import orjson
import pytest

from gateway.core import faults
from gateway.core.taps import MAX_BODY, MAX_LINES, MAX_READ_BYTES, MAX_TAPS, Taps, TooManyTaps, Wanted, shown


def event(type: str = "chat.message", **data: object) -> bytes:
    return orjson.dumps({"type": type, "data": data})


async def test_only_wanted_lines_come() -> None:
    taps = Taps()
    assert not taps.is_open
    wanted = [
        Wanted(),
        Wanted(room="lobby"),
        Wanted(user="alice"),
        Wanted(type="chat.*"),
        Wanted(type="end"),
        Wanted(connection="c1"),
    ]
    opened = [taps.open(each) for each in wanted]
    assert taps.is_open
    taps.note("in", type="chat.send", room="lobby", user="alice", connection="c1")
    taps.note("in", type="ping", user="bob", connection="c2")
    taps.note("end", user="alice", connection="c1", code=None)
    taps.event("lobby", event(sender="alice", text="hi"), 3)
    taps.event("other", event("room.joined", user="bob"), 1)
    counts = [len((await tap.take())[0]) for tap in opened]
    assert counts == [5, 2, 3, 2, 1, 2]
    for tap in opened:
        taps.close(tap)
    assert not taps.is_open


async def test_what_is_too_much_is_counted_and_not_read() -> None:
    taps = Taps()
    tap = taps.open(Wanted())
    for _ in range(10_000):
        taps.event("lobby", event(sender="alice", text="x"), 1)
    lines, lost = await tap.take()
    assert (len(lines), lost) == (MAX_LINES, 10_000 - MAX_LINES)
    of_alice = taps.open(Wanted(user="alice"))
    long = event(sender="bob", text="x" * 10_000)
    for _ in range(1000):
        taps.event("lobby", long, 1)
    lines, lost = await of_alice.take()
    assert lines == []
    assert lost == 1000 - MAX_READ_BYTES // len(long) - 1


async def test_bodies_are_bounded_in_sum() -> None:
    taps = Taps()
    tap = taps.open(Wanted(bodies=True))
    for _ in range(1000):
        taps.event("lobby", event(sender="alice", text="ü" * 3000), 1)
    lines, lost = await tap.take()
    assert len(orjson.dumps(lines)) < 200_000
    assert len(lines) + lost == 1000


def test_no_operator_can_open_any_number() -> None:
    taps = Taps()
    for _ in range(MAX_TAPS):
        taps.open(Wanted())
    with pytest.raises(TooManyTaps, match="end one of them"):
        taps.open(Wanted())


@pytest.mark.parametrize(
    "secret",
    [
        '{"token":"SECRET"}',
        '{"a":{"access_token" : "SECRET"}}',
        '{"Password":"SEC\\"RET SECRET"}',
        '{"client_secret":12345SECRET}',
        '{"x-api-key":"SECRET"}',
        '{"text":"Bearer SECRET"}',
        '{"text":"see eyJSECRETx.eyJSECRET.SECRET_-"}',
        '{"text":"gwk_SECRET"}',
        '["gwr_SECRET"]',
        '{"ticket":"SECRET',
        '{"tokens":["SECRET","SECRET"],"x":1}',
        '{"credential": {"a":{"b":"SECRET"}}}',
        '{"cookie":"SECRET; SECRET"}',
        '{"text":"{\\"password\\":\\"SECRET\\"}"}',
        '{"text":"{\\"pin_token\\" : 12345SECRET}"}',
        '{"text":"\\"{\\\\\\"secret\\\\\\":\\\\\\"SECRET\\\\\\"}\\""}',
    ],
)
def test_no_credential_is_shown(secret: str) -> None:
    assert "SECRET" in secret
    assert "SECRET" not in shown(secret.encode())
    cut = '{"x":"' + "a" * (MAX_BODY - 30) + '",' + secret[1:] + "SECRET" * 100
    assert "SECRETSECRET" not in shown(cut.encode()) or secret[0] == "["


def test_what_is_no_credential_stays() -> None:
    for text in ('{"text":"tokens are fine","n":[1,2]}', '{"room":"secretary"}', "null", '"x"'):
        assert shown(text.encode()) == text
    assert shown(b"x" * 5000) == "x" * MAX_BODY + "…"


async def test_what_cannot_be_shown_stops_nothing(fresh_faults: None) -> None:
    taps = Taps()
    tap = taps.open(Wanted(bodies=True))
    taps.note("in", body=lambda: orjson.dumps(object()))
    taps.event("lobby", b'{"type":"broken', 1)
    taps.note("in", type=["no", "word"], room={"not": "a room"}, user="x" * 100)
    lines, _ = await tap.take()
    assert [line["user"] for line in lines] == ["x" * 64]
    assert faults.counters["taps"] == 2
