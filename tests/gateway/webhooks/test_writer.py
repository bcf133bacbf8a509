"""Which events are stored for a message, without a store."""

import json
from typing import Any

import pytest

from gateway.core.room_patterns import RoomPatterns
from gateway.rooms.growth import Grown
from gateway.rooms.message_changes import Written
from gateway.routes.model import EventType, Hook
from gateway.routes.signatures import Signer
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.webhooks.writer import EventWriter
from handlers.errors import NotFound
from tests.support.upstreams import SECRET

LOBBY = RoomRow(1, "lobby", None, False, False, "e", 7, 0, 0, 2, 0)


def written(offset: int = 7, *, changed: int | None = None, unchanged: bool = False) -> Written:
    message = MessageRow(1, offset, changed or offset, "u1", "alice", "hi", None, None, "c1", 1000)
    return Written(LOBBY, message, unchanged)


def hook(*types: EventType, name: str = "push", rooms: str = "*") -> Hook:
    return Hook(
        name, "http://127.0.0.1:1/", Signer.parse([SECRET]), frozenset(types), rooms=RoomPatterns.parse([rooms])
    )


def stored(writer: EventWriter, *outcomes: Any) -> list[dict[str, Any]]:
    """Return the events that a script would store."""
    names = ("webhook", "stream", "event_id", "type", "data", "room_id", "offset", "due_at", "created_at", "trace")
    found = []
    script = writer.store(outcomes, 5000)
    for _, values in script:
        rows = json.loads(values["items"]) if "items" in values else [[values[f"item_{n}"] for n in range(len(names))]]
        found += [dict(zip(names, row, strict=True)) for row in rows]
        with pytest.raises(StopIteration):
            script.send([])
    return found


def test_without_a_hook_nothing_is_done() -> None:
    writer = EventWriter(10)
    assert stored(writer, written()) == []
    writer.use([hook("user.connected", "room.vacated")])
    assert stored(writer, written()) == []


def test_a_new_message_is_stored_for_each_hook_that_wants_it() -> None:
    writer = EventWriter(10)
    writer.use([hook("message.stored"), hook("message.stored", name="other", rooms="garden"), hook(name="none")])
    [event] = stored(writer, written())
    assert (event["webhook"], event["stream"], event["type"]) == ("push", "room:lobby", "message.stored")
    message = json.loads(event["data"])["message"]
    assert (message["id"], message["text"]) == ("e.7", "hi")
    assert "client_id" not in message  # which is for its sender alone


def test_edits_pieces_repeats_and_refusals_are_no_new_messages() -> None:
    writer = EventWriter(10)
    writer.use([hook("message.stored", "message.unseen")])
    grown = Grown(LOBBY, written(changed=9).message, 2, " all", (6,))
    outcomes = (written(changed=9), written(unchanged=True), grown, NotFound("there is no such room"), None)
    assert stored(writer, *outcomes) == []


def test_an_unseen_message_is_due_later_and_only_named() -> None:
    writer = EventWriter(10)
    writer.use([hook("message.unseen")])
    [event] = stored(writer, written())
    assert (event["stream"], event["room_id"], event["offset"], event["due_at"]) == ("due:lobby", 1, 7, 35_000)
    assert "hi" not in event["data"]


def test_a_hook_with_too_many_events_gets_no_more_until_some_are_delivered() -> None:
    writer = EventWriter(3)
    writer.use([hook("message.stored"), hook("message.stored", name="other")])
    writer.count({"push": 2})
    assert len(stored(writer, written(1), written(2))) == 3
    assert writer.dropped == {"push": 1}
    assert (writer.is_full("push"), writer.is_full("other")) == (True, False)
    writer.count_delivered("push")
    assert not writer.is_full("push")
    writer.count({"push": 3})
    assert writer.is_full("push")


def test_events_that_are_not_committed_when_the_store_counts_are_counted_too() -> None:
    writer = EventWriter(3)
    writer.use([hook("message.stored")])
    assert len(stored(writer, written(1), written(2))) == 2
    writer.count({"push": 0})
    assert len(stored(writer, written(3), written(4))) == 1
    writer.committed()
    assert writer.is_full("push")
    writer.count({"push": 2})
    assert not writer.is_full("push")


def test_those_that_send_learn_of_new_events_once_they_are_durable() -> None:
    writer = EventWriter(0)
    woken: list[set[str]] = []
    writer.on_stored = woken.append
    writer.use([hook("message.stored")])
    writer.committed()
    assert woken == []
    stored(writer, written())
    writer.committed()
    writer.committed()
    assert woken == [{"push"}]
