"""The view of a client, which the proofs compare with a room's log: it must notice what a broken gateway would do."""

from typing import Any

import pytest

from proofs.view import Seen, Sightings, View

Frame = dict[str, Any]


def message(offset: int, text: str | None = "hello", changed: int | None = None, **more: Any) -> Frame:
    return {
        "room": "lobby",
        "offset": offset,
        "changed": changed or offset,
        "sender": "bob",
        "text": text,
        "deleted": False,
        **more,
    }


def event(offset: int, text: str = "hello", changed: int | None = None, type: str = "chat.message") -> Frame:
    return {"type": type, "data": message(offset, text, changed)}


def piece(offset: int, at: int, text: str, changed: int) -> Frame:
    data = {"room": "lobby", "offset": offset, "at": at, "text": text, "changed": changed}
    return {"type": "chat.appended", "data": data}


def reply(offset: int, **more: Any) -> Frame:
    return {"room": "lobby", "epoch": "e", "offset": offset, **({"messages": []} | more)}


@pytest.fixture
def sightings() -> Sightings:
    return Sightings()


@pytest.fixture
def view(sightings: Sightings) -> View:
    """The view of a client that has joined an empty room."""
    view = View("alice", "lobby", sightings)
    view.joined(reply(0))
    return view


def log(*states: Seen) -> dict[int, Seen]:
    return {seen.offset: seen for seen in states}


def test_a_client_that_saw_all_changes_has_a_true_slice_of_the_log(view: View, sightings: Sightings) -> None:
    view.take(event(1))
    view.take(event(2, "a"))
    view.take(piece(2, 1, "bc", 3))
    view.take(event(1, "hi", 4, "chat.edited"))
    view.compare(log(Seen(1, 4, "bob", "hi"), Seen(2, 3, "bob", "abc")), 4)
    assert not sightings.wrong


def test_a_resume_brings_each_message_once_in_its_newest_state(view: View, sightings: Sightings) -> None:
    view.take(event(1))
    assert view.since == {"since": {"epoch": "e", "offset": 1}}
    view.joined(reply(4, recovered=True, events=[event(2, changed=3), event(1, "hi", 4)]))
    view.take(event(5))
    view.compare(log(Seen(1, 4, "bob", "hi"), Seen(2, 3, "bob", "hello"), Seen(5, 5, "bob", "hello")), 5)
    assert not sightings.wrong
    assert sightings.counts["recovered"] == 1


@pytest.mark.parametrize(
    ("kind", "frames", "found", "top"),
    [
        ("missed", [event(2)], [Seen(1, 1, "bob", "hello"), Seen(2, 2, "bob", "hello")], 2),
        ("behind", [event(1)], [Seen(1, 1, "bob", "hello"), Seen(2, 2, "bob", "hello")], 2),
        ("different", [event(1)], [Seen(1, 1, "bob", "other")], 1),
        ("different", [event(1)], [], 1),
        ("doubled", [event(1), event(1)], [Seen(1, 1, "bob", "hello")], 1),
        ("doubled", [event(1), event(2), event(1)], [Seen(1, 1, "bob", "hello"), Seen(2, 2, "bob", "hello")], 2),
        ("missed", [event(1, "a"), piece(1, 3, "b", 2)], [Seen(1, 1, "bob", "a")], 2),
        ("missed", [piece(1, 3, "b", 2)], [], 2),
    ],
)
def test_what_a_broken_gateway_does_is_noticed(
    view: View, sightings: Sightings, kind: str, frames: list[Frame], found: list[Seen], top: int
) -> None:
    for frame in frames:
        view.take(frame)
    view.compare(log(*found), top)
    assert sightings.counts[kind] >= 1
    assert sightings.wrong


def test_a_resume_in_disorder_or_into_another_room_is_noticed(view: View, sightings: Sightings) -> None:
    view.joined(reply(3, recovered=True, events=[event(3), event(2)]))
    assert sightings.counts["disorder"] == 1
    view.joined(reply(1, recovered=False, reason="epoch_changed", messages=[message(1)]))
    assert sightings.counts["lost"] == 1


def test_two_clients_that_saw_different_things_as_one_change_are_noticed(view: View, sightings: Sightings) -> None:
    other = View("carol", "lobby", sightings)
    other.joined(reply(0))
    view.take(event(1, "one"))
    other.take(event(1, "two"))
    assert sightings.counts["different"] == 1


def test_after_resync_a_client_waits_for_the_next_join(view: View, sightings: Sightings) -> None:
    view.take({"type": "resync", "data": {"room": "lobby", "epoch": "e", "offset": 7}})
    assert view.is_stale
    view.take(event(8))
    view.joined(reply(308, recovered=False, reason="too_many", messages=[message(308)]))
    assert not view.is_stale
    view.compare(log(Seen(1, 1, "bob", "hello"), Seen(308, 308, "bob", "hello")), 308)
    assert not sightings.wrong


@pytest.mark.parametrize(("reason", "offset"), [("too_old", 301), ("too_many", 300), ("epoch_changed", 301)])
def test_a_resume_that_need_not_fail_is_noticed(view: View, sightings: Sightings, reason: str, offset: int) -> None:
    view.joined(reply(offset, recovered=False, reason=reason, messages=[message(offset)]))
    assert sightings.counts["lost"] == 1


def test_a_resume_over_more_than_it_can_bring_may_fail(view: View, sightings: Sightings) -> None:
    view.joined(reply(301, recovered=False, reason="too_many", messages=[message(301)]))
    assert not sightings.wrong
