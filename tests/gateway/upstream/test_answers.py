"""The gateway reads each answer of a service, or calls it a failure."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answers import MAX_ERROR_MESSAGE, Answer, read_answer
from gateway.upstream.effects import Disconnect, Join, Leave, Publish
from handlers.errors import UpstreamFailed
from schemas.codes import Status

DEPTH = 33

words = st.sampled_from(
    ["data", "error", "effects", "status", "name", "message", "publish", "join", "leave", "disconnect", "room", "text"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | words, inner, max_size=3),
    max_leaves=12,
)
answers = st.dictionaries(st.sampled_from(["data", "error", "effects", "more"]), values, max_size=3)
effects = st.lists(st.dictionaries(words, values, max_size=2), max_size=3).map(
    lambda some: {"data": {}, "effects": some}
)
errors = st.fixed_dictionaries({}, optional={"status": values, "name": values, "message": values}).map(
    lambda error: {"error": error}
)


def read(document: Any) -> Answer:
    return read_answer(json.dumps(document).encode(errors="surrogatepass"), DEPTH)


@given(values | answers | effects | errors)
def test_any_json_is_an_answer_or_a_failure(document: Any) -> None:
    with suppress(UpstreamFailed):
        answer = read(document)
        assert (answer.data is None) != (answer.error is None)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_failure(body: bytes) -> None:
    with suppress(UpstreamFailed):
        read_answer(body, DEPTH)


def test_each_effect_is_read() -> None:
    found = read(
        {
            "data": {},
            "effects": [
                {"publish": {"room": "a", "event": {"type": "x"}}},
                {"publish": {"room": "a", "body": [1]}},
                {"join": {"room": "a", "user": "bob", "role": "owner"}},
                {"leave": {"room": "a"}},
                {"disconnect": {}},
            ],
        }
    ).effects
    assert [type(each) for each in found] == [Publish, Publish, Join, Leave, Disconnect]


@pytest.mark.parametrize("status", [20000, 40000, 40001, 40101, 40102, 41000, 50000, 50200, 50300, 59999, 70000, -1])
def test_a_service_has_no_use_of_the_statuses_of_frames_credentials_and_the_gateway(status: int) -> None:
    name = Status(status).name.lower() if status in set(Status) else "sold_out"
    with pytest.raises(UpstreamFailed) as failed:
        read({"error": {"status": status, "name": name, "message": "x"}})
    assert failed.value.reason == "expected an error with a status and a name that a service may use"


def test_a_message_of_an_error_has_a_limit() -> None:
    error = {"status": 60001, "name": "sold_out", "message": "x" * MAX_ERROR_MESSAGE}
    assert str(read({"error": error}).error) == error["message"]
    with pytest.raises(UpstreamFailed):
        read({"error": error | {"message": "x" * (MAX_ERROR_MESSAGE + 1)}})


def test_a_reason_quotes_nothing_of_the_answer() -> None:
    secret = "s3cret-of-the-service"
    documents: list[Any] = [
        {"data": secret},
        {secret: 1},
        {"error": {"status": secret, "name": secret, "message": 1, secret: secret}},
        {"data": {}, "effects": [{secret: {}}]},
        {"data": {}, "effects": [{"join": {"room": secret + "\n"}}]},
        secret,
    ]
    for document in documents:
        with pytest.raises(UpstreamFailed) as failed:
            read(document)
        assert failed.value.reason.startswith("expected")
        assert secret not in failed.value.reason
