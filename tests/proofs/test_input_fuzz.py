"""The fuzzer makes bad input of all kinds, again and again the same, and a gateway that fails misses its bars."""

import asyncio
import json
from typing import Any, cast

import pytest

from handlers.registry import BUILT_IN
from proofs.input import fuzz
from proofs.input.ending import ending_of
from proofs.input.fuzz import BATCH, Fuzzer, Seen, memory_bar, served_bar
from proofs.input.line import BrokenFrame, Line, Received
from proofs.input.mutations import Mutations
from tests.support.wire import CLOSE, TEXT, frame

ROOMS, USERS = ["lobby", "attic"], ["alice", "bobby"]


def texts_of(frames: list[bytes]) -> list[Any]:
    """The messages among whole frames that are JSON."""
    found = []
    for each in frames:
        length = each[1] & 0x7F
        start = {126: 4, 127: 10}.get(length, 2)
        mask, masked = each[start : start + 4], each[start + 4 :]
        if each[0] != 0x81 or not mask:
            continue
        raw = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        try:
            found.append(json.loads(raw))
        except ValueError:
            continue
    return found


def test_a_seed_makes_the_same_input_again_and_another_seed_does_not() -> None:
    first, again, other = (Mutations(seed, ROOMS, USERS).batch(200) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_the_input_has_messages_of_all_types_and_much_that_is_no_message() -> None:
    frames = Mutations("1", ROOMS, USERS).batch(1500)
    messages = texts_of(frames)
    types = {each.get("type") for each in messages if isinstance(each, dict) and isinstance(each.get("type"), str)}
    assert types >= set(BUILT_IN.handlers) - {"bye"}
    assert len(messages) < len(frames)
    assert {each[0] & 0x0F for each in frames} >= {1, 2, 9, 10}


def fuzzer() -> Fuzzer:
    person: Any = None
    return Fuzzer(0, person, Mutations("1", ROOMS, USERS), Seen())


def test_an_error_of_the_gateways_own_is_a_fault_and_one_of_the_client_is_none() -> None:
    client = fuzzer()
    seen = client._seen
    assert client._take(b'{"type":"error","id":7,"status":42200}') == 7
    assert client._take(b'{"type":"error","id":8,"status":60001}') == 8
    assert seen.wrong == []
    client._take(b'{"type":"error","id":9,"status":50000}')
    assert len(seen.wrong) == 1


def test_only_a_close_that_the_last_frame_can_cause_is_no_fault() -> None:
    client, ending = fuzzer(), ending_of(frame((4001).to_bytes(2), CLOSE))
    for code in (1000, 1002, 1007, 1009, 4001):
        client._closed(code.to_bytes(2), ending)
    assert client._seen.wrong == []
    for number, code in enumerate((1008, 1011, 1012, 4403, 4429), 1):
        client._closed(code.to_bytes(2) + b"why", ending)
        assert len(client._seen.wrong) == number
    client._closed((1002).to_bytes(2), None)
    assert "before a frame that may end the connection" in client._seen.wrong[-1]


class Answering:
    """A line on which so many pings are answered, and then something else comes."""

    def __init__(self, marks: int, then: Received | Exception | None = None) -> None:
        self._frames: list[Received | Exception | None] = [
            (TEXT, b'{"type":"reply","id":"%s","status":20000}' % mark) for mark in (b"mark", b"last")[:marks]
        ]
        self._frames.append(then)

    async def write(self, data: bytes) -> None:
        """Take it."""

    async def look(self, _seconds: float) -> Received | None:
        """The next frame."""
        if isinstance(first := self._frames[0], Exception):
            raise first
        return first

    async def read(self) -> Received | None:
        """The next frame, taken."""
        return cast("Received | None", self._frames.pop(0))


async def test_frames_count_when_the_answer_after_them_shows_that_they_were_read() -> None:
    counts = []
    for marks in range(3):
        client = fuzzer()
        await client._send(cast("Line", Answering(marks, (CLOSE, (1002).to_bytes(2)))))
        counts.append(client._seen.frames)
        # A close before the mark is a fault, and one after the last frame is none.
        assert len(client._seen.wrong) == (marks == 0)
    assert counts == [0, BATCH, BATCH]


async def test_an_end_without_a_close_frame_and_a_silence_where_an_answer_is_due_are_faults() -> None:
    client = fuzzer()
    for marks in range(2):
        assert not await client._send(cast("Line", Answering(marks)))
        assert len(client._seen.wrong) == marks + 1
    for fault in (TimeoutError(), BrokenFrame()):
        with pytest.raises(type(fault)):
            await client._read_last(cast("Line", Answering(0, fault)), ending_of(frame("whole")))
    part = ending_of(frame("a part")[:-1])
    assert not await client._read_last(cast("Line", Answering(0, TimeoutError())), part)
    with pytest.raises(BrokenFrame):
        await client._read_last(cast("Line", Answering(0, BrokenFrame())), part)


class Busy(Answering):
    """A line on which the events of others come without an end."""

    async def look(self, seconds: float) -> Received | None:
        """An event, or the end of the wait."""
        if seconds == 0:
            raise TimeoutError
        await asyncio.sleep(0)
        return TEXT, b'{"type":"room.joined","data":{}}'

    async def read(self) -> Received | None:
        """The same, taken."""
        return await self.look(1)


async def test_a_client_that_has_sent_a_part_of_a_frame_goes_while_others_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SILENCE_SECONDS", 0.01)
    client, part = fuzzer(), ending_of(frame("a part")[:-1])
    async with asyncio.timeout(10):
        assert not await client._read_last(cast("Line", Busy(0)), part)
    assert client._seen.wrong == []


def test_memory_may_grow_and_shrink_by_a_tenth() -> None:
    assert memory_bar(100_000, 109_000).passed
    assert not memory_bar(100_000, 111_000).passed
    assert not memory_bar(100_000, 89_000).passed


def test_a_client_that_is_not_served_meanwhile_misses_the_bar() -> None:
    assert served_bar(Seen(served=10)).passed
    assert not served_bar(Seen(served=10, unserved=1)).passed
    assert not served_bar(Seen()).passed
