"""The outbox: bounded, in order, and what it does when it overflows."""

import asyncio
import json
import weakref
from collections.abc import Callable

import pytest

from gateway.transport.chunks import Chunks
from gateway.transport.frames import Frame, joined, text_frame
from gateway.transport.outbox import Outbox, OutboxFigures
from gateway.transport.writers import AsgiWriter, nothing

MAX_FRAMES = 8
MAX_BYTES = 1000
QUARTER = MAX_BYTES // 4 - len(text_frame(b"x" * 200).wire) + 200
"""The length of a text that takes, with the header of its frame, a quarter of the bytes."""


class Socket:
    """A socket with a reader that can be stopped."""

    def __init__(self) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = lambda: None
        self.writes: list[list[str]] = []
        self.overflows = 0
        self.closed = False

    @property
    def sent(self) -> list[str]:
        return [text for write in self.writes for text in write]

    def write(self, frame: Frame) -> None:
        self.writes.append([text.decode() for text in frame.texts])

    def abort(self) -> None:
        self.closed = True

    def stop_reading(self) -> None:
        self.ready = False

    def read_on(self) -> None:
        self.ready = True
        self.on_ready()

    async def close(self) -> None:
        self.closed = True

    def overflow(self) -> None:
        self.overflows += 1


def text(content: str, *, droppable: bool = False) -> Frame:
    return text_frame(content.encode(), droppable=droppable)


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def outbox(socket: Socket) -> Outbox:
    return Outbox(socket, socket.overflow, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)


def test_frames_go_out_in_the_order_they_came_and_at_once(outbox: Outbox, socket: Socket) -> None:
    for number in range(8):
        outbox.deliver(text(str(number)))
        assert socket.sent[-1] == str(number)


def test_the_answer_and_the_events_that_its_message_caused_go_out_in_one_write(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.reply(text("reply"))
    assert socket.writes == []
    outbox.release()
    assert socket.writes == [["reply", "caused"]]
    outbox.hold()
    outbox.reply(text("reply"))
    outbox.release()
    outbox.deliver(text("event"))
    assert socket.writes[1:] == [["reply"], ["event"]]


def test_an_answer_that_waits_for_its_events_is_not_lost(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.reply(text("first"))
    outbox.reply(text("second"))
    assert socket.sent == ["first", "second"]
    outbox.release()
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.reply(text("third"))
    socket.stop_reading()
    outbox.release()
    assert socket.sent[2:] == []
    socket.read_on()
    assert socket.sent[2:] == ["third", "caused"]


async def test_a_close_sends_the_answer_that_waits(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.reply(text("reply"))
    outbox.close(text("bye"), socket.close)
    assert socket.sent == ["reply", "caused", "bye"]
    await outbox.wait_closed()


def test_the_answer_overtakes_the_events_that_its_message_caused(outbox: Outbox, socket: Socket) -> None:
    outbox.deliver(text("before"))
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.deliver(text("caused, too"))
    outbox.reply(text("reply"))
    outbox.release()
    outbox.deliver(text("after"))
    assert socket.writes == [["before"], ["reply", "caused", "caused, too"], ["after"]]


def test_what_waited_for_a_slow_reader_goes_out_in_one_write(outbox: Outbox, socket: Socket) -> None:
    outbox.deliver(text("before"))
    socket.stop_reading()
    for number in range(5):
        outbox.deliver(text(str(number)))
    outbox.reply(text("reply"))
    assert socket.writes == [["before"]]
    socket.read_on()
    assert socket.writes == [["before"], ["0", "1", "2", "3", "4", "reply"]]


def test_an_answer_waits_behind_what_is_owed_already(outbox: Outbox, socket: Socket) -> None:
    socket.stop_reading()
    outbox.deliver(text("owed"))
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.reply(text("reply"))
    outbox.release()
    socket.read_on()
    assert socket.sent == ["owed", "reply", "caused"]


def test_half_full_it_drops_what_may_be_dropped_and_nothing_else(outbox: Outbox, socket: Socket) -> None:
    socket.stop_reading()
    for number in range(6):
        outbox.deliver(text(f"typing {number}", droppable=True))
        outbox.deliver(text(f"message {number}"))
    assert (outbox.dropped, socket.overflows) == (4, 0)
    socket.read_on()
    assert [each for each in socket.sent if each.startswith("message")] == [f"message {n}" for n in range(6)]
    assert [each for each in socket.sent if each.startswith("typing")] == ["typing 0", "typing 1"]


def test_events_stay_held_when_holding_begins_again(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.deliver(text("caused"))
    outbox.hold()
    outbox.release()
    assert socket.sent == ["caused"]


@pytest.mark.parametrize("ready", [True, False])
def test_a_reply_overtakes_no_frame_and_counts(outbox: Outbox, socket: Socket, ready: bool) -> None:
    socket.stop_reading()
    outbox.reply(text("first"))
    socket.ready = ready  # without a word: the writer has not said yet that it takes more
    for number in range(MAX_FRAMES - 1):
        outbox.reply(text(str(number)))
    assert (socket.sent, socket.overflows) == ([], 0)
    outbox.reply(text("too much"))
    assert socket.overflows == 1
    socket.read_on()
    assert socket.sent == []


@pytest.mark.parametrize("half", [[1] * 4, [QUARTER] * 2], ids=["in frames", "in bytes"])
def test_what_may_be_dropped_is_taken_until_it_is_half_full(outbox: Outbox, socket: Socket, half: list[int]) -> None:
    socket.stop_reading()
    for size in half[1:]:
        outbox.deliver(text("x" * size))
    outbox.deliver(text("y" * half[0], droppable=True))
    assert outbox.dropped == 0
    outbox.deliver(text("y", droppable=True))
    outbox.deliver(joined([text("y", droppable=True), text("y", droppable=True)]))
    assert (outbox.dropped, socket.overflows) == (3, 0)


@pytest.mark.parametrize(("size", "fit"), [(1, 8), (QUARTER, 4)], ids=["in frames", "in bytes"])
def test_full_it_gives_up_once_and_forgets_what_was_owed(outbox: Outbox, socket: Socket, size: int, fit: int) -> None:
    socket.stop_reading()
    for _ in range(fit):
        outbox.deliver(text("x" * size))
    assert socket.overflows == 0
    outbox.deliver(text("x"))
    outbox.reply(text("x"))
    assert socket.overflows == 1
    socket.read_on()
    assert socket.sent == []


@pytest.mark.parametrize(("size", "fit"), [(1, 8), (QUARTER, 4)], ids=["in frames", "in bytes"])
def test_held_events_count_too_and_are_forgotten_too(outbox: Outbox, socket: Socket, size: int, fit: int) -> None:
    outbox.hold()
    for _ in range(fit):
        outbox.deliver(text("x" * size))
    assert (outbox.holding, socket.overflows) == (True, 0)
    outbox.deliver(text("x"))
    assert (outbox.holding, socket.overflows) == (False, 1)
    outbox.release()
    assert socket.sent == []


def test_several_frames_that_came_as_one_count_as_several(outbox: Outbox, socket: Socket) -> None:
    socket.stop_reading()
    outbox.deliver(joined([text("x")] * 8))
    outbox.deliver(text("x"))
    assert socket.overflows == 1


def test_what_is_still_held_counts_after_the_rest_has_gone(outbox: Outbox, socket: Socket) -> None:
    socket.stop_reading()
    outbox.reply(text("x" * QUARTER))
    outbox.hold()
    outbox.deliver(text("x" * QUARTER))
    socket.read_on()
    for _ in range(3):
        outbox.deliver(text("x" * QUARTER))
    assert socket.overflows == 0
    outbox.deliver(text("x"))
    assert socket.overflows == 1


def test_room_is_made_as_frames_go_out(outbox: Outbox, socket: Socket) -> None:
    for _ in range(50):
        socket.stop_reading()
        outbox.deliver(text("x" * 400))
        outbox.hold()
        outbox.deliver(text("x" * 400))
        socket.read_on()
        outbox.release()
    assert (len(socket.sent), socket.overflows) == (100, 0)


@pytest.mark.parametrize("reads", [True, False], ids=["at once", "when it reads on"])
async def test_the_last_frame_comes_after_all_others_and_then_the_close(
    outbox: Outbox, socket: Socket, reads: bool
) -> None:
    if not reads:
        socket.stop_reading()
    outbox.hold()
    outbox.deliver(text("held"))
    outbox.close(text("bye"), socket.close)
    outbox.deliver(text("too late"))
    outbox.reply(text("too late"))
    outbox.close(text("bye again"), socket.close)
    outbox.release()
    if not reads:
        assert socket.sent == []
        asyncio.get_running_loop().call_soon(socket.read_on)
    await outbox.wait_closed()
    assert (socket.sent, socket.closed) == (["held", "bye"], True)


async def test_an_idle_outbox_has_no_task(socket: Socket) -> None:
    async def send(each: str) -> None:
        await asyncio.sleep(0)
        socket.writes.append([each])

    outbox = Outbox(AsgiWriter(send), socket.overflow, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
    before = len(asyncio.all_tasks())
    for number in range(3):
        outbox.deliver(text(str(number)))
    assert len(asyncio.all_tasks()) == before + 1
    outbox.close(text("bye"), socket.close)
    await outbox.wait_closed()
    assert socket.sent == ["0", "1", "2", "bye"]
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("error", [RuntimeError("closed"), OSError("reset")])
async def test_a_client_that_is_gone_ends_it_quietly(socket: Socket, error: Exception) -> None:
    async def send(_: str) -> None:
        raise error

    outbox = Outbox(AsgiWriter(send), socket.overflow, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
    for _ in range(5):
        outbox.deliver(text("x"))
    outbox.close(text("bye"), socket.close)
    async with asyncio.timeout(20):
        await outbox.wait_closed()
    assert socket.overflows == 0


async def test_who_gives_up_waiting_for_the_end_may_still_see_it_come(outbox: Outbox, socket: Socket) -> None:
    socket.stop_reading()
    outbox.deliver(text("owed"))
    outbox.close(text("bye"), socket.close)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await outbox.wait_closed()
    socket.read_on()
    await outbox.wait_closed()
    assert (socket.sent, socket.closed) == (["owed", "bye"], True)


class Owner:
    """What an outbox calls when it is full, and to close."""

    def overflow(self) -> None: ...

    async def close(self) -> None: ...


async def test_what_has_been_detached_holds_no_memory_and_waits_for_nothing(socket: Socket) -> None:
    owner = Owner()
    outbox = Outbox(socket, owner.overflow, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
    socket.stop_reading()
    outbox.close(text("bye"), owner.close)
    outbox.detach()
    await outbox.wait_closed()
    gone = weakref.ref(owner)
    del owner
    assert gone() is None
    assert socket.on_ready is nothing


def test_a_lost_client_that_was_let_go_is_sent_nothing_more(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.detach()
    outbox.deliver(text("too late"))
    outbox.reply(text("too late"))
    assert (outbox.holding, socket.sent) == (False, [])


def chunk(content: object) -> tuple[bytes, bool]:
    return json.dumps(content).encode(), isinstance(content, str)


async def stream(outbox: Outbox, chunks: Chunks, *contents: object) -> None:
    """Send chunks, each as soon as the outbox takes it."""
    for content in contents:
        data, is_text = chunk(content)
        while not outbox.takes_chunk(chunks, data, is_text=is_text):
            await outbox.wait_for_room()


async def waiting(outbox: Outbox, chunks: Chunks, content: object) -> asyncio.Task[None]:
    """Send a chunk that the outbox does not take yet."""
    task = asyncio.create_task(stream(outbox, chunks, content))
    await asyncio.sleep(0)
    assert not task.done()
    return task


def received(socket: Socket) -> list[tuple[int, object]]:
    """Return the number and the data of each chunk."""
    frames = [json.loads(sent) for sent in socket.sent]
    return [(frame["seq"], frame["data"]) for frame in frames if frame["type"] == "chunk"]


async def test_a_chunk_goes_out_at_once_before_the_events_that_are_held(outbox: Outbox, socket: Socket) -> None:
    outbox.hold()
    outbox.deliver(text("caused"))
    await stream(outbox, Chunks(7, MAX_BYTES), "a", {"b": 1})
    assert socket.writes == [
        ['{"type":"chunk","id":7,"seq":1,"data":"a"}'],
        ['{"type":"chunk","id":7,"seq":2,"data":{"b": 1}}'],
    ]


async def test_chunks_wait_one_by_one_until_the_outbox_is_half_full_and_then_texts_are_joined(
    outbox: Outbox, socket: Socket
) -> None:
    chunks = Chunks("s", MAX_BYTES)
    socket.stop_reading()
    await stream(outbox, chunks, *"abcd", "e", "ü", '"\\', "\n", "")
    assert socket.sent == []
    socket.read_on()
    assert received(socket) == [(1, "a"), (2, "b"), (3, "c"), (4, 'deü"\\\n')]
    assert len(socket.writes) == 1
    await stream(outbox, chunks, "next")
    assert received(socket)[-1] == (5, "next")
    assert socket.overflows == 0


async def test_only_texts_of_one_answer_are_joined(outbox: Outbox, socket: Socket) -> None:
    first, second = Chunks(1, MAX_BYTES), Chunks(2, MAX_BYTES)
    socket.stop_reading()
    await stream(outbox, first, "a", "b")
    await stream(outbox, second, "c")
    outbox.deliver(text('{"type":"event"}'))
    await stream(outbox, second, "d")
    await stream(outbox, first, "e")
    outbox.reply(text('{"type":"reply"}'))
    socket.read_on()
    assert [json.loads(sent) for sent in socket.sent] == [
        {"type": "chunk", "id": 1, "seq": 1, "data": "a"},
        {"type": "chunk", "id": 1, "seq": 2, "data": "be"},
        {"type": "chunk", "id": 2, "seq": 1, "data": "cd"},
        {"type": "event"},
        {"type": "reply"},
    ]


async def test_a_text_is_not_joined_with_another_chunk_nor_beyond_the_size_of_a_frame(
    outbox: Outbox, socket: Socket
) -> None:
    chunks = Chunks(1, 100)
    socket.stop_reading()
    await stream(outbox, chunks, "a", "b", "c", 4, "e", "x" * 30, "y" * 30)
    socket.read_on()
    assert received(socket) == [(1, "a"), (2, "b"), (3, "c"), (4, 4), (5, "e" + "x" * 30), (6, "y" * 30)]
    with pytest.raises(ValueError, match="at most 100 bytes"):
        await stream(outbox, chunks, "z" * 100)
    await stream(outbox, chunks, "z")
    assert received(socket)[-1] == (7, "z")


@pytest.mark.parametrize(
    ("before", "content"),
    [
        (["a"] * 4, {"no": "text"}),
        (["a"] * 4, 1),
        (["x" * 500], "x" * 500),
        (["x" * 400], "x" * 550),  # which is not half full, but the second one has no room
        (["x"], "x" * 900),
    ],
)
async def test_a_half_full_outbox_makes_other_chunks_wait_until_it_is_written(
    outbox: Outbox, socket: Socket, before: list[str], content: object
) -> None:
    chunks = Chunks(1, MAX_BYTES)
    socket.stop_reading()
    await stream(outbox, chunks, *before)
    task = await waiting(outbox, chunks, content)
    outbox.deliver(text("events go on"))
    socket.read_on()
    async with asyncio.timeout(20):
        await task
    assert socket.sent[-1] == json.dumps(
        {"type": "chunk", "id": 1, "seq": len(before) + 1, "data": content}, separators=(",", ":")
    ).replace('{"no":"text"}', '{"no": "text"}')
    assert "events go on" in socket.sent
    assert socket.overflows == 0


async def test_a_chunk_waits_for_a_slow_reader_for_some_seconds_and_then_the_connection_ends(
    outbox: Outbox, socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.transport.outbox.ROOM_SECONDS", 0.1)
    chunks = Chunks(1, MAX_BYTES)
    socket.stop_reading()
    async with asyncio.timeout(20):
        await stream(outbox, chunks, 1, 2, 3, 4, 5)
    assert socket.overflows == 1
    assert outbox.is_closed
    await stream(outbox, chunks, 6)
    socket.read_on()
    assert socket.sent == []


@pytest.mark.parametrize("end", ["discard", "detach", "close"])
async def test_the_end_of_the_outbox_ends_the_wait_for_room(outbox: Outbox, socket: Socket, end: str) -> None:
    chunks = Chunks(1, MAX_BYTES)
    socket.stop_reading()
    await stream(outbox, chunks, 1, 2, 3, 4)
    tasks = [await waiting(outbox, chunks, 5), await waiting(outbox, Chunks(2, MAX_BYTES), 5)]
    tasks[0].cancel()  # which leaves the other waiting
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False]
    if end == "close":
        outbox.close(text("last"), socket.close)
    else:
        getattr(outbox, end)()
    async with asyncio.timeout(20):
        await asyncio.wait(tasks)
    assert socket.overflows == 0


async def test_a_long_wait_joins_many_texts_without_copying_them_each_time(outbox: Outbox, socket: Socket) -> None:
    large = Outbox(socket, socket.overflow, max_frames=16, max_bytes=10_000_000)
    chunks = Chunks(1, 2_000_000)
    socket.stop_reading()
    await stream(large, chunks, *["ten chars "] * 100_000)  # seconds, if each were copied
    assert large.backlog == 0.5
    socket.read_on()
    found = received(socket)
    assert [seq for seq, _ in found] == list(range(1, 9))
    assert "".join(str(data) for _, data in found) == "ten chars " * 100_000


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> OutboxFigures:
    figures = OutboxFigures()
    monkeypatch.setattr("gateway.transport.outbox.figures", figures)
    return figures


def test_the_metrics_show_an_outbox_while_it_waits_and_how_full_it_has_been(
    outbox: Outbox, socket: Socket, counted: OutboxFigures
) -> None:
    outbox.deliver(text("at once"))
    assert (counted.waiting, sum(counted.peaks.counts)) == (set(), 0)
    socket.stop_reading()
    for number in range(4):
        outbox.deliver(text(f"{number}"))
    assert counted.waiting == {outbox}
    assert (outbox.backlog, outbox.waiting_bytes) == (0.5, 4 * len(text("0").wire))
    outbox.deliver(text("typing", droppable=True))
    assert counted.dropped == 1
    socket.read_on()
    assert counted.waiting == set()
    assert (sum(counted.peaks.counts), counted.peaks.total) == (1, 0.5)


def test_the_metrics_forget_an_outbox_whose_client_is_gone_or_is_cut_off(
    outbox: Outbox, socket: Socket, counted: OutboxFigures
) -> None:
    socket.stop_reading()
    for number in range(MAX_FRAMES + 1):
        outbox.deliver(text(f"{number}"))
    assert (socket.overflows, counted.waiting, counted.peaks.total) == (1, set(), 1.0)
    other = Outbox(socket, socket.overflow, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
    other.reply(text("answer"))
    assert counted.waiting == {other}
    other.detach()
    assert counted.waiting == set()
