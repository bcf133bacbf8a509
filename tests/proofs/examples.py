"""Proofs that take no time."""

from proofs.bar import Bar, Proof, Report, Scale, none_of


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
