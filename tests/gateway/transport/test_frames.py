"""Frames."""

import json

from gateway.transport import frames
from handlers.errors import Conflict, RateLimited
from schemas.base import Empty
from schemas.codes import Close
from schemas.events.chat import ChatTyping
from schemas.messages.system import Echo


def test_a_reply_has_the_id_as_it_came_and_keeps_the_nulls_of_others() -> None:
    assert json.loads(frames.reply('a"b', Echo({"x": None})).text) == {
        "type": "reply",
        "id": 'a"b',
        "status": 20000,
        "data": {"x": None},
    }
    assert json.loads(frames.reply(7, Empty()).text)["id"] == 7


def test_an_error_leaves_out_what_it_has_not_but_always_has_an_id() -> None:
    assert json.loads(frames.error(None, Conflict("taken").body()).text) == {
        "type": "error",
        "id": None,
        "status": 40900,
        "name": "conflict",
        "message": "taken",
        "retryable": False,
    }
    assert json.loads(frames.error(1, RateLimited("messages", 20).body()).text)["retry_after_ms"] == 20


def test_an_event_has_no_id() -> None:
    event = frames.event(ChatTyping(room="lobby", user="alice", typing=True), droppable=True)
    assert json.loads(event.text) == {
        "type": "chat.typing",
        "data": {"room": "lobby", "user": "alice", "typing": True},
    }
    assert event.droppable


def test_what_was_put_together_is_told_apart_again() -> None:
    texts = [b'"%b"' % (b"x" * size) for size in (0, 123, 124, 65533, 65534)]
    together = frames.joined([frames.text_frame(text) for text in texts])
    assert together.texts == texts
    assert together.count == len(texts)
    assert [len(frames.text_frame(text).wire) - len(text) for text in texts] == [2, 2, 4, 4, 10]


def test_only_what_is_droppable_as_a_whole_may_be_dropped() -> None:
    typing, said = frames.text_frame(b"1", droppable=True), frames.text_frame(b"2")
    assert frames.joined([typing, typing]).droppable
    assert not frames.joined([typing, said]).droppable


def test_a_bye_says_when_to_come_back() -> None:
    assert json.loads(frames.bye(Close.DRAINING, 830).text)["data"] == {
        "code": 1012,
        "reason": "draining",
        "reconnect": "after_delay",
        "after_ms": 830,
    }
