"""The users of a proof in their rooms, and the orders for their clients."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.rig import Person

ROOMS_EACH = 2
ROOM_SIZE = 10


def in_rooms(people: list[Person]) -> tuple[list[Person], dict[str, list[Person]]]:
    """Return people, and rooms of ten with two of them for each."""
    rooms: dict[str, list[Person]] = {}
    for turn in range(ROOMS_EACH):
        # Another order for each turn, so that a client's rooms have different members.
        ordered = people if turn == 0 else sorted(people, key=lambda person: person.id)
        for start in range(0, len(people), ROOM_SIZE):
            rooms[f"room-{len(rooms)}"] = ordered[start : start + ROOM_SIZE]
    return people, rooms


def orders_for(
    port: int,
    people: Sequence[Person],
    rooms: Mapping[str, Sequence[Person]],
    seed: int,
    *,
    rates: Mapping[str, float],
    restarts: bool = False,
    password: str | None = None,
    url: str | None = None,
    kept: int | None = None,
) -> dict[str, Any]:
    """Return the orders for `proofs.clients`. `rates` has what they do, in times a second.

    With a password, they also come with tickets and log-ins. At the end, they compare the store at `url` with what was
    acknowledged; of each room, it must have the newest `kept` messages, or all.
    """
    rooms_of: dict[str, list[str]] = {}
    for name, members in rooms.items():
        for person in members:
            rooms_of.setdefault(person.id, []).append(name)
    return {
        "port": port,
        "password": password,
        "url": url,
        "kept": kept,
        "seed": seed,
        "restarts": restarts,
        "rates": {"churn": 0.0, "messages": 0.0, "odd jobs": 0.0} | dict(rates),
        "members": [[person.name, person.token, rooms_of[person.id]] for person in people],
    }
