"""What clients may write into `traceparent` and `tracestate`, and what goes on to services."""

import pytest

from gateway.core.trace_context import TraceContext, from_headers, from_message, outgoing, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        True,
        [GOOD],
        {"traceparent": GOOD},
        "",
        "00",
        TRACE,
        GOOD[:-1],
        GOOD + "0",
        f"{GOOD}-extra",
        f"{GOOD}-",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}\r\nx-evil: 1",
        GOOD.upper(),
        GOOD.replace("-", "_"),
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-1",
        f"01-{TRACE}-{SPAN}-01x",
        "\ud800",
        "é" * 55,
        GOOD * 1000,
    ],
)
def test_a_wrong_traceparent_is_as_good_as_none(value: object) -> None:
    assert parse(value) is None


@pytest.mark.parametrize("value", [GOOD, f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"])
def test_a_right_one_goes_on_as_version_00_also_from_a_later_version(value: str) -> None:
    assert outgoing(parse(value), "msg_" + "1" * 32) == {"traceparent": GOOD}


@pytest.mark.parametrize(("flags", "known"), [("00", "00"), ("01", "01"), ("03", "01"), ("fe", "00")])
def test_only_the_known_flag_goes_on(flags: str, known: str) -> None:
    found = parse(f"00-{TRACE}-{SPAN}-{flags}")
    assert found is not None
    assert found.flags == known


@pytest.mark.parametrize(
    ("given", "goes_on"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("rojo=1 ,\tcongo=2,,", "rojo=1,congo=2"),
        ("tenant@system=1", "tenant@system=1"),
        (",".join(f"k{number}=v" for number in range(32)), ",".join(f"k{number}=v" for number in range(32))),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        ("Rojo=1", ""),
        ("rojo", ""),
        ("rojo=", ""),
        ("rojo=a=b", ""),
        ("rojo=1\r\nx-evil: 1", ""),
        ("rojo=é", ""),
        ("rojo=" + "1" * 507, ""),
        ("rojo=1," * 100_000, ""),
    ],
)
def test_a_tracestate_goes_on_whole_or_not_at_all(given: str, goes_on: str) -> None:
    found = parse(GOOD, given)
    assert found is not None
    assert found.state == goes_on
    assert found.traceparent == GOOD


def test_the_headers_of_a_request_count_only_with_one_traceparent() -> None:
    parent, state = (b"traceparent", GOOD.encode()), (b"tracestate", b"a=1")
    assert from_headers([parent, state, (b"tracestate", b"b=2")]) == TraceContext(TRACE, SPAN, "01", "a=1,b=2")
    assert from_headers([parent, parent]) is None
    assert from_headers([state]) is None
    assert from_headers([(b"traceparent", b"\xff" * 55)]) is None


@pytest.mark.parametrize("value", [None, [], "x", {}, {"traceparent": 1}, {"traceparent": "x"}])
def test_another_node_may_send_anything_as_a_trace(value: object) -> None:
    assert from_message(value) == {}


def test_another_node_sends_a_trace_along() -> None:
    headers = {"traceparent": GOOD, "tracestate": "a=1"}
    assert from_message(headers) == headers


def test_without_a_trace_a_message_begins_one_with_the_digits_of_its_id() -> None:
    first, second = (outgoing(None, f"msg_{TRACE}")["traceparent"] for _ in range(2))
    assert first[3:35] == second[3:35] == TRACE
    assert first != second
    assert parse(first) is not None
