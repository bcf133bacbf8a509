"""Proofs that take no time, and clients of a gateway that is not there."""

from typing import Any

from proofs.bar import Bar, Proof, Report, Scale, none_of
from proofs.clients import Crowd
from proofs.members import orders_for


async def _keep(scale: Scale, report: Report) -> list[Bar]:
    report("it began")
    return [none_of("lost", 0), Bar("its form", "any", scale, True)]


async def _miss(scale: Scale, report: Report) -> list[Bar]:
    return [none_of("lost", 2)]


async def _break(scale: Scale, report: Report) -> list[Bar]:
    raise RuntimeError("the store is gone")


KEPT = Proof("kept", "Nothing is lost.", _keep)
MISSED = Proof("missed", "Something is lost.", _miss)
BROKEN = Proof("broken", "The proof itself fails.", _break)


def crowd_of(name: str, **more: Any) -> Crowd:
    """Return a crowd of one client, which is in the room `hall`."""
    orders = orders_for(1, [], {}, 1, rates={}, **more)
    return Crowd(orders | {"members": [[name, "token", ["hall"]]]})
