"""The outbox: bounded, in order, and its policy where it overflows."""

import asyncio

import pytest

from gateway.outbox import Outbox
from gateway.transport.frames import Frame


class Socket:
    """A socket whose reader can be stopped."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.overflows = 0
        self.closed = False

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.sent.append(text)

    async def close(self) -> None:
        self.closed = True

    def overflow(self) -> None:
        self.overflows += 1


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def outbox(socket: Socket) -> Outbox:
    return Outbox(socket.send, socket.overflow, max_frames=8, max_bytes=1000)


async def test_frames_go_out_in_the_order_they_came(outbox: Outbox, socket: Socket) -> None:
    for number in range(8):
        outbox.deliver(Frame(str(number)))
    await outbox.flushed()
    assert socket.sent == list("01234567")


async def test_the_answer_overtakes_the_events_that_its_message_caused(outbox: Outbox, socket: Socket) -> None:
    outbox.deliver(Frame("before"))
    outbox.hold()
    outbox.deliver(Frame("caused"))
    outbox.answer(Frame("reply"))
    outbox.release()
    outbox.deliver(Frame("after"))
    await outbox.flushed()
    assert socket.sent == ["before", "reply", "caused", "after"]


async def test_half_full_it_drops_what_may_be_dropped_and_nothing_else(outbox: Outbox, socket: Socket) -> None:
    socket.reads.clear()
    for number in range(6):
        outbox.deliver(Frame(f"typing {number}", droppable=True))
        outbox.deliver(Frame(f"message {number}"))
    assert (outbox.dropped, socket.overflows) == (4, 0)
    socket.reads.set()
    await outbox.flushed()
    assert [text for text in socket.sent if text.startswith("message")] == [f"message {n}" for n in range(6)]
    assert [text for text in socket.sent if text.startswith("typing")] == ["typing 0", "typing 1"]


@pytest.mark.parametrize("size", [1, 300], ids=["in frames", "in bytes"])
async def test_full_it_gives_up_once_and_forgets_what_was_owed(outbox: Outbox, socket: Socket, size: int) -> None:
    socket.reads.clear()
    for _ in range(20):
        outbox.deliver(Frame("x" * size))
        outbox.answer(Frame("x" * size))
    assert socket.overflows == 1
    socket.reads.set()
    await outbox.flushed()
    assert socket.sent == []


async def test_held_events_count_too(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    for _ in range(9):
        outbox.deliver(Frame("x"))
    assert socket.overflows == 1


async def test_room_is_made_as_frames_go_out(outbox: Outbox, socket: Socket) -> None:
    for _ in range(50):
        outbox.deliver(Frame("x" * 400))
        await outbox.flushed()
    assert (len(socket.sent), socket.overflows) == (50, 0)


async def test_the_last_frame_comes_after_all_others_and_then_the_close(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.deliver(Frame("held"))
    outbox.finish(Frame("bye"), socket.close)
    outbox.deliver(Frame("too late"))
    outbox.answer(Frame("too late"))
    outbox.finish(Frame("bye again"), socket.close)
    await outbox.flushed()
    assert (socket.sent, socket.closed) == (["held", "bye"], True)


@pytest.mark.parametrize("error", [RuntimeError("closed"), OSError("reset")])
async def test_a_client_that_is_gone_ends_it_quietly(socket: Socket, error: Exception) -> None:
    async def send(_: str) -> None:
        raise error

    outbox = Outbox(send, socket.overflow, max_frames=8, max_bytes=1000)
    outbox.deliver(Frame("x"))
    await outbox.flushed()
    for _ in range(20):
        outbox.deliver(Frame("x"))
    assert socket.overflows == 0


async def test_an_idle_outbox_has_no_task(outbox: Outbox) -> None:
    before = len(asyncio.all_tasks())
    outbox.deliver(Frame("x"))
    assert len(asyncio.all_tasks()) == before + 1
    await outbox.flushed()
    assert len(asyncio.all_tasks()) == before
