"""A line keeps a broken frame of the gateway, and an ending says what a client's bytes ask for."""

import asyncio
from unittest.mock import Mock

import pytest

from proofs.input.ending import NO_CODE, Ending, ending_of
from proofs.input.line import BrokenFrame, Line
from tests.support.wire import CLOSE, PING, TEXT, frame

TEXT_OF_A_SERVER = b"\x81\x02hi"
NOTHING_DUE, ANSWER_DUE = Ending(waits=True, own_code=None), Ending(waits=False, own_code=None)


async def test_a_broken_frame_is_raised_after_the_frames_before_it() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(TEXT_OF_A_SERVER + b"\xc1\x00")
    line = Line(reader, Mock())
    assert await line.read() == (TEXT, b"hi")
    for _ in range(2):
        with pytest.raises(BrokenFrame, match="c1 00"):
            await line.look(5)
    await line.close()


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (frame("hello"), ANSWER_DUE),
        (frame("hello")[:-1], NOTHING_DUE),
        (frame("hello")[:1], NOTHING_DUE),
        (frame("h" * 300)[:3], NOTHING_DUE),
        (frame("hello") + frame("h" * 70_000)[:5], NOTHING_DUE),
        (frame("hello", 3), ANSWER_DUE),
        (frame("hello", 3)[:-1], NOTHING_DUE),
        (b"\x31\xfb" + frame("ping"), NOTHING_DUE),
        (frame("hello", PING, fin=False) + b"\x81", ANSWER_DUE),
        (b"\x81\x05hello" + b"\x81", ANSWER_DUE),
        (b"\x81\x05hel", NOTHING_DUE),
        (b"\x81\xff" + b"\x7f" * 8, ANSWER_DUE),
        (frame((4001).to_bytes(2) + b"bye", CLOSE), Ending(waits=False, own_code=4001)),
        (frame(b"", CLOSE) + b"\x81", Ending(waits=False, own_code=NO_CODE)),
    ],
)
def test_bytes_that_end_within_a_frame_wait_for_no_answer(data: bytes, ending: Ending) -> None:
    assert ending_of(data) == ending
