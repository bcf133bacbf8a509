"""A reply with ready JSON is sent as it is, and is an ordinary reply for a handler that looks inside."""

from copy import copy, deepcopy

import orjson
import pytest

from gateway.transport import frames
from gateway.transport.encoded import encoded, ready_json
from schemas.base import Empty
from schemas.messages.rooms import JoinReply

TEXT = b'{"room":"lobby","epoch":"k3f9","offset":7,"members":2,"messages":[]}'
ORDINARY = JoinReply(room="lobby", epoch="k3f9", offset=7, members=2, messages=())


@pytest.fixture
def reply() -> JoinReply:
    return encoded(JoinReply, TEXT)


def test_it_is_sent_as_it_is(reply: JoinReply) -> None:
    assert ready_json(reply) == TEXT
    assert orjson.loads(frames.reply(1, reply).text) == orjson.loads(frames.reply(1, ORDINARY).text)


def test_a_handler_reads_its_fields(reply: JoinReply) -> None:
    assert isinstance(reply, JoinReply)
    assert (reply.room, reply.offset, reply.messages, reply.events) == ("lobby", 7, (), None)
    assert type(reply) is JoinReply


def test_it_compares_and_prints_like_an_ordinary_one() -> None:
    assert encoded(JoinReply, TEXT) == ORDINARY
    assert encoded(JoinReply, TEXT) == ORDINARY
    assert encoded(JoinReply, TEXT) != ORDINARY.model_copy(update={"offset": 8})
    assert repr(encoded(JoinReply, TEXT)) == repr(ORDINARY)


def test_it_is_copied_and_dumped_like_an_ordinary_one() -> None:
    assert copy(encoded(JoinReply, TEXT)) == deepcopy(encoded(JoinReply, TEXT)) == ORDINARY
    assert encoded(JoinReply, TEXT).model_copy(update={"offset": 8}).offset == 8
    assert encoded(JoinReply, TEXT).model_dump_json() == ORDINARY.model_dump_json()
    assert encoded(JoinReply, TEXT).model_dump() == ORDINARY.model_dump()


def test_after_a_look_inside_it_is_sent_as_an_ordinary_one(reply: JoinReply) -> None:
    assert reply.offset == 7
    assert ready_json(reply) is None
    assert orjson.loads(frames.reply(1, reply).text) == orjson.loads(frames.reply(1, ORDINARY).text)


def test_other_values_have_no_ready_json() -> None:
    assert ready_json(Empty()) is None
    assert ready_json(None) is None
