"""The fuzzer makes bad input of all kinds, again and again the same, and a gateway that fails misses its bars."""

import json
from typing import Any

from handlers.registry import BUILT_IN
from proofs.input.fuzz import RIGHT_CODES, Fuzzer, Seen, memory_bar, served_bar
from proofs.input.mutations import Mutations

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


def test_a_close_of_the_gateways_own_fault_is_a_fault() -> None:
    client = fuzzer()
    for code in (1002, 1007, 1009):
        client._closed(code.to_bytes(2))
    assert client._seen.wrong == []
    client._closed((1011).to_bytes(2) + b"internal_error")
    assert len(client._seen.wrong) == 1
    assert 1011 not in RIGHT_CODES


def test_memory_may_grow_and_shrink_by_a_tenth() -> None:
    assert memory_bar(100_000, 109_000).passed
    assert not memory_bar(100_000, 111_000).passed
    assert not memory_bar(100_000, 89_000).passed


def test_a_client_that_is_not_served_meanwhile_misses_the_bar() -> None:
    assert served_bar(Seen(served=10)).passed
    assert not served_bar(Seen(served=10, unserved=1)).passed
    assert not served_bar(Seen()).passed
