"""What a message costs, in tokens of the buckets that limit how many messages come.

A plain message takes one token. One that is long, or that makes the gateway read, count, write or send much, takes
more. The weights are such that a token stands for two milliseconds of a core at most: a hundred a second are a fifth.

They are declared and not measured. So what a message costs is the same on every machine, under every load and on both
stores; a client can foresee it, and a test can count it.
"""

MESSAGE_BYTES = 8192
"""Of what comes. The worst that JSON can be takes 0.2 ms a KiB."""

ANSWER_BYTES = 16384
"""Of an answer. They are read from the store, made into objects, and written as JSON."""

READ = 2.0
"""A transaction that reads the store, found or not."""

WRITE = 3.0
"""A transaction that writes to it. What the log of a room writes, many in one transaction, costs less."""

REQUEST = 3.0
"""A request to the HTTP API with a user's token: two transactions, of which the first checks the token."""

PAGE = 1.0
"""A page of messages, besides its transaction: it takes more statements than most."""

ROWS = 100
"""Rows that are read: members, users and rooms."""

COUNTED = 5000
"""Entries of an index that are counted: unread messages and members."""

DELIVERIES = 250
"""Connections on this node that one event is written to."""

DELIVERED_BYTES = 16384
"""Of such an event, before each delivery counts as two."""

INCLUDED = 1.0
"""What may be done for a message before that costs anything more."""


def of_text(text: str) -> float:
    """Return what a message of this text takes before anything is done for it."""
    if len(text) * 4 <= MESSAGE_BYTES:  # a character has at most four bytes
        return 1
    return max(1.0, of_bytes(len(text) if text.isascii() else len(text.encode())))


def of_bytes(size: int) -> float:
    """Return what so many bytes cost that come from a client, or that go to all listeners of a room."""
    return size / MESSAGE_BYTES


def of_answer(size: int) -> float:
    """Return what an answer of so many bytes costs."""
    return size / ANSWER_BYTES


def of_rows(rows: int, counted: int = 0) -> float:
    """Return what it costs to read so many rows, and to count so many entries of an index."""
    return rows / ROWS + counted / COUNTED


def of_deliveries(deliveries: int, size: int) -> float:
    """Return what it costs to write an event of so many bytes to so many connections."""
    return deliveries / DELIVERIES * (1 + size / DELIVERED_BYTES)
