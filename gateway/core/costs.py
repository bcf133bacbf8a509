"""The cost of a message, in tokens of the rate limits' buckets.

A plain message takes one token. A long message takes more, and so does one that makes the gateway read, count, write
or send much. One token stands for at most two milliseconds of a core, so a hundred a second are a fifth of a core.

The costs are declared, not measured. So a message costs the same on every machine, under every load and on both
stores. A client can predict its cost, and a test can count it.
"""

import math

MESSAGE_BYTES = 8192
"""Bytes of a message for one token. The worst JSON takes 0.2 ms per KiB."""

ANSWER_BYTES = 16384
"""Bytes of a reply for one token. They are read from the store, made into objects and written as JSON."""

READ = 2.0
"""A transaction that reads the store, whether it finds a row or not, or memory that answers in its place."""

WRITE = 3.0
"""A transaction that writes to the store, or a room that is made, entered or left.

Messages and read marks cost less: many share one transaction.
"""

REQUEST = 3.0
"""A request to the HTTP API with a user's token: two transactions, the first of which checks the token."""

PAGE = 1.0
"""A page of messages, in addition to its transaction: it needs more statements than most."""

RESUMED = 0.3
"""A room of `room.resume`, besides the bytes of its messages: many share their transactions."""

RESUMED_A_JOIN = 16
"""Rooms of `room.resume` for one join of the join rates, besides one for the message."""

ROWS = 100
"""Rows read for one token: members, users and rooms."""

COUNTED = 5000
"""Index entries counted for one token: unread messages."""

DELIVERIES = 250
"""Deliveries of one event to connections of this node for one token."""

DELIVERED_BYTES = 16384
"""The size of an event at which a delivery costs twice as much."""

INCLUDED = 1.0
"""Work that a message may cause without extra cost."""


def check(cost: float) -> None:
    """Raise `ValueError` for a cost below 0, infinity or NaN; the latter two would stay in a bucket for good."""
    if not 0 <= cost < math.inf:
        raise ValueError(f"expected a cost of 0 or more, got {cost!r}")


def of_text(text: str) -> float:
    """Return the cost of a message with this text, before any work for it."""
    if len(text) * 4 <= MESSAGE_BYTES:  # a character has at most four bytes
        return 1
    return max(1.0, of_bytes(len(text) if text.isascii() else len(text.encode())))


def of_bytes(size: int) -> float:
    """Return the cost of bytes that a client sends, or that go to all subscribers of a room."""
    return size / MESSAGE_BYTES


def of_answer(size: int) -> float:
    """Return the cost of a reply of this size."""
    return size / ANSWER_BYTES


def of_rows(rows: int, counted: int = 0) -> float:
    """Return the cost of reading rows, and of counting entries of an index."""
    return rows / ROWS + counted / COUNTED


def joins_of(rooms: int) -> float:
    """Return the cost of resuming rooms, in joins of the join rates."""
    return 1 + rooms / RESUMED_A_JOIN


def of_deliveries(deliveries: int, size: int) -> float:
    """Return the cost of writing one event to many connections."""
    return deliveries / DELIVERIES * (1 + size / DELIVERED_BYTES)


def of_longer_event(deliveries: int, more: int) -> float:
    """Return the cost of more bytes in an event that is paid for as it was."""
    return of_deliveries(deliveries, more) - of_deliveries(deliveries, 0)
