"""What may go out now, of the events that are due."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.outgoing_events import WaitingEvent
from gateway.webhooks.dispatcher import in_order
from gateway.webhooks.unseen import page_id


def event(id: int, stream: str = "a", due_at: int = 0, previous: tuple[int, int] | None = None) -> WaitingEvent:
    before = previous or (None, None)
    return WaitingEvent(id, stream, f"msg_{id}", "message.stored", 0, 0, due_at, None, None, None, 2, *before)


def test_an_event_follows_the_one_before_it_and_waits_for_one_that_is_not_due() -> None:
    events = [event(3, previous=(2, 0)), event(2, previous=(1, 0)), event(1), event(5, "b", previous=(4, 90))]
    ready, later = in_order(events)
    assert [each.id for each in ready] == [1, 2, 3]
    assert [(each.id, until) for each, until in later] == [(5, 90)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=12), st.integers(1, 12))
def test_no_event_overtakes_another_of_its_stream(rows: list[tuple[str, bool]], most: int) -> None:
    last: dict[str, tuple[int, int]] = {}
    events = []
    for id, (stream, is_due) in enumerate(rows):
        events.append(event(id, stream, 0 if is_due else 90, last.get(stream)))
        last[stream] = (id, events[-1].due_at)
    found = sorted((each for each in events if each.due_at == 0), key=lambda each: (each.due_at, each.id))[:most]
    ready, later = in_order(found)
    for stream in "ab":
        firsts = [each.id for each in events if each.stream == stream]
        gone = [each.id for each in ready if each.stream == stream]
        assert gone == firsts[: len(gone)]
    assert all(until == 90 for _, until in later)


def test_pages_have_ids_that_every_node_makes() -> None:
    first = "msg_" + "a" * 32
    ids = [page_id(first, number) for number in range(1, 5)]
    assert ids[0] == first
    assert len(set(ids)) == 4
    assert all(len(id) == len(first) and id.startswith("msg_") for id in ids)
