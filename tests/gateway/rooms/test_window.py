"""A window answers as the store would, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.base import Logged
from gateway.rooms.encoding import message_json
from gateway.rooms.events import bus_event, event_json, grown_event
from gateway.rooms.growth import Grown
from gateway.rooms.window import Page, Window, WindowLimits
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow

ROOM = RoomRow(1, "lobby", None, False, False, "k3f9", 0, 0, 0, 0, 0)
USERS = ("ann", "ben")
VIEWERS = (*USERS, "cat")


def message(offset: int, sender: str = "ann", text: str = "hi") -> MessageRow:
    return MessageRow(1, offset, offset, sender, sender, text, None, None, f"client-{offset}", 1000 * offset)


def grown(row: MessageRow, changed: int, text: str, *, done: bool = False) -> MessageRow:
    """Return a message after a piece was added."""
    return row.grown(changed, (row.text or "") + text, 1000 * changed, done=done)


def event_of(row: MessageRow, before: MessageRow | None) -> Logged:
    """Return what the bus brings of a change: of a message that has grown only the piece."""
    if before is None or row.offset != before.offset or row.grown_at is None or row.grown_at == before.grown_at:
        return bus_event(ROOM, row)
    at = len(before.text or "")
    return grown_event(Grown(ROOM, row, at, (row.text or "")[at:], ()))


@dataclass
class Log:
    """A room's log as the store keeps it: each message in its newest state."""

    rows: dict[int, MessageRow] = field(default_factory=dict)
    top: int = 0

    def change(self, row: MessageRow) -> MessageRow:
        self.top = row.changed
        self.rows[row.offset] = row
        return row

    def since(self, offset: int, viewer: str) -> Page:
        changed = sorted((row for row in self.rows.values() if row.changed > offset), key=lambda row: row.changed)
        return page_of([event_json(ROOM, row, viewer) for row in changed])

    def newest(self, count: int, viewer: str) -> Page:
        rows = [self.rows[offset] for offset in sorted(self.rows)]
        return page_of([message_json(ROOM, row, viewer) for row in rows[max(0, len(rows) - count) :]])


def page_of(texts: Sequence[bytes]) -> Page:
    return Page(len(texts), b",".join(texts))


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "edit", "delete", "grow", "grow", "grow"]),
        st.integers(0, 30),
        st.sampled_from(USERS),
    ),
    max_size=30,
)


@given(CHANGES, st.integers(1, 8), st.sampled_from([700, 2000, 100_000]), st.integers(0, 30))
def test_whatever_it_answers_is_what_the_log_says(
    changes: list[tuple[str, int, str]], entries: int, size: int, opened_at: int
) -> None:
    log, limits = Log(), WindowLimits(entries, size)
    window = Window("k3f9", 0, is_whole=True) if not opened_at else None
    for number, (kind, which, user) in enumerate(changes, 1):
        old = log.rows.get(sorted(log.rows)[which % len(log.rows)]) if log.rows else None
        if kind == "send" or old is None or old.deleted_at is not None:  # which takes no change
            row = message(number, user)
        elif kind == "edit":
            row = old.edited(number, f"edit {number}", None, 1000 * number)
        elif kind == "grow" and old.text is not None and not old.done:
            row = grown(old, number, f" + {number} ☃", done=which > 28)
        else:
            row = old.deleted(number, 1000 * number)
        event = event_of(row, old)
        log.change(row)
        if number == opened_at:
            window = Window("k3f9", number, is_whole=False)
        if window is not None and not window.append(event, 0, limits):
            window = None  # as memory does
    if window is None:
        return
    for viewer in VIEWERS:
        for offset in range(log.top + 1):
            assert window.since(offset, viewer) in {None, log.since(offset, viewer)}
        for count in range(12):
            assert window.newest(count, viewer) in {None, log.newest(count, viewer)}
    assert window.since(log.top, "ann") == Page(0, b"")


def filled(count: int, limits: WindowLimits, text: str = "hi") -> Window:
    window = Window("k3f9", 0, is_whole=True)
    for offset in range(1, count + 1):
        window.append(bus_event(ROOM, message(offset, text=text)), 1000 * offset, limits)
    return window


def test_a_window_that_has_everything_answers_for_any_number_of_messages() -> None:
    window = filled(3, WindowLimits(10, 100_000))
    newest = window.newest(50, "cat")
    assert newest is not None
    assert newest.count == 3
    assert window.newest(0, "cat") == Page(0, b"")


def test_a_window_that_has_dropped_something_leaves_more_messages_to_the_store() -> None:
    window = filled(5, WindowLimits(3, 100_000))
    assert (window.floor, window.top) == (2, 5)
    assert window.newest(4, "cat") is None
    assert window.newest(3, "cat") is not None
    assert window.since(1, "cat") is None
    assert window.since(6, "cat") is None, "the client knows more than this node"


def test_a_window_smaller_than_one_message_only_knows_that_nothing_is_missing() -> None:
    window = filled(2, WindowLimits(10, 5000), "x" * 10_000)
    assert window.newest(1, "cat") is None
    assert window.since(1, "cat") is None
    assert window.since(2, "cat") == Page(0, b"")
    assert window.size == 0


def test_messages_that_retention_removes_are_not_shown() -> None:
    window = filled(3, WindowLimits(10, 100_000))
    window.drop_before(3000)
    newest = window.newest(50, "cat")
    assert newest is not None
    assert newest.count == 1
    assert window.since(1, "cat") is None


def test_its_size_includes_the_pages_that_it_remembers() -> None:
    window = filled(3, WindowLimits(10, 100_000))
    before, newest = window.size, window.newest(3, "cat")
    assert newest is not None
    assert window.size == before + len(newest.text)
    window.append(bus_event(ROOM, message(4)), 0, WindowLimits(10, 100_000))
    assert window.size == filled(4, WindowLimits(10, 100_000)).size


@pytest.mark.parametrize("text", [b'{"type":"chat.message","data":{"id":"other.9"}}', b'{"type":"chat.message"}'])
def test_an_event_of_another_form_breaks_nothing(text: bytes) -> None:
    window, event = Window("k3f9", 0, is_whole=True), bus_event(ROOM, message(1))
    event.frame.wire = bytes((0x81, len(text))) + text
    window.append(event, 0, WindowLimits(10, 100_000))
    assert window.newest(5, "cat") is not None


@pytest.mark.parametrize("pieces", [1, 31, 32, 33, 100])
def test_a_message_that_grows_has_one_entry_and_its_size(pieces: int) -> None:
    limits, row = WindowLimits(3, 100_000), message(1)
    window = filled(1, limits)
    for number in range(2, pieces + 2):
        longer = grown(row, number, "☃" * 10, done=number == pieces + 1)
        assert window.append(event_of(longer, row), 0, limits)
        row = longer
    window.append(bus_event(ROOM, message(pieces + 2)), 0, limits)
    assert window.since(0, "ann") == page_of(
        [event_json(ROOM, row, "ann"), event_json(ROOM, message(pieces + 2), "ann")]
    )
    assert (window.floor, window.top) == (0, pieces + 2)
    assert window.size < 3000 + 32 * 600 + 30 * pieces


@pytest.mark.parametrize("data", [b"{}", b'{"id":"k3f9.1"}', b'{"id":"k3f9.1","text":', b"[]", b"null", b""])
def test_a_piece_of_another_form_ends_a_window(data: bytes) -> None:
    window, event = filled(1, WindowLimits(3, 100_000)), bus_event(ROOM, message(2))
    text = b'{"type":"chat.appended","data":%b}' % data
    event.frame.wire = bytes((0x81, len(text))) + text
    assert not window.append(event, 0, WindowLimits(3, 100_000))
    assert window.since(0, "cat") is not None


def test_a_piece_of_a_message_that_it_does_not_hold_ends_a_window() -> None:
    limits, window = WindowLimits(2, 100_000), filled(3, WindowLimits(2, 100_000))
    assert not window.append(event_of(grown(message(1), 4, "more"), message(1)), 0, limits)
    assert window.append(event_of(grown(message(1), 3, "more"), message(1)), 0, limits), "it is an old one"
