"""The JSON that is made directly is the JSON of the schema."""

import orjson
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from gateway.rooms.encoding import message_json
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow

ROOM = RoomRow(1, "lobby", None, False, False, "k3f9", 9, 0, 0, 0, 0)

TEXTS = st.text(st.characters(codec="utf-8"))
BODIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=8,
)
TIMES = st.integers(0, 253_402_300_799_999)

ROWS = st.builds(
    MessageRow,
    room_id=st.just(1),
    offset=st.integers(1, 2**53),
    changed=st.integers(1, 2**53),
    sender_id=st.sampled_from(["carol-id", "bobby-id"]),
    sender=TEXTS,
    text=st.none() | TEXTS,
    body=BODIES,
    reply_to=st.none() | st.integers(1, 2**53),
    client_id=st.none() | TEXTS,
    sent_at=TIMES,
    edited_at=st.none() | TIMES,
    deleted_at=st.none() | TIMES,
)


@given(ROWS, st.sampled_from([None, "carol-id", "bobby-id"]))
def test_it_is_what_the_schema_makes(row: MessageRow, viewer_id: str | None) -> None:
    made = message_json(ROOM, row, viewer_id)
    of_the_schema = to_json(row.to_schema(ROOM, viewer_id), exclude_none=True)

    assert orjson.loads(made) == orjson.loads(of_the_schema)
    assert list(orjson.loads(made)) == list(orjson.loads(of_the_schema)), "in the same order"
