"""Faults that the gateway must survive: `python -m proofs faults`. `table.py` has all of them.

While a fault lasts, users talk and listen on all nodes. Each one repeats what has no answer, with its `client_id`, and
resumes where it was. At the end, all that was acknowledged must be there once, and what each client has seen must be a
true slice of the log. Nothing but the fault itself ends by a hand: the gateway must come back alone.

Many faults need root, for namespaces, mounts and signals. Without it, the table says which were left out.
"""

import asyncio
import os
import random
import traceback
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from proofs.bar import Bar, Proof, Report, Scale, at_most, none_of
from proofs.faults.fault import Place, S
from proofs.faults.site import Node
from proofs.faults.table import LANES
from proofs.faults.trial import tried
from tests.support.lacking import Unavailable

MOST_LINES_A_FAULT = 200
"""How many lines of its log a node may write about one fault, on an average. Each kill is one."""

MOST_GROWTH_MB = 48
"""How much memory a node may take more than at the beginning."""

LACKING = (Unavailable, pytest.skip.Exception, pytest.fail.Exception)
"""What says that this machine lacks something. In the middle of a trial, it is a failure."""


async def prove(scale: Scale, report: Report) -> list[Bar]:
    """Try all faults, a few places at a time."""
    seed = random.SystemRandom().randrange(2**32)
    lanes = await asyncio.gather(*(_lane(lane, scale, seed, report) for lane in LANES))
    return [bar for lane in lanes for bar in lane]


async def _lane(places: Sequence[Place[S]], scale: Scale, seed: int, report: Report) -> list[Bar]:
    return [bar for place in places for bar in await bars_of(place, scale, seed, report)]


async def bars_of(place: Place[S], scale: Scale, seed: int, report: Report) -> list[Bar]:
    """Try the faults of one place. The trials that have ended count, also if the next one breaks down.

    Where this machine lacks what the place needs, the bar says so. In full and in CI, it is missed.
    """
    bars: list[Bar] = []
    try:
        async with AsyncExitStack() as stack:
            try:
                site = await stack.enter_async_context(place.open([fault.name for fault in place.faults]))
            except LACKING as missing:
                report(f"{place.name}: {missing}")
                may_lack = scale is Scale.SHORT and not os.environ.get("CI")
                return [Bar(place.name, "tried", f"not tried: {missing}", may_lack)]
            await _try_all(place, site, scale, seed, report, bars)
    except (Exception, *LACKING) as error:
        # The other places go on.
        report(f"{place.name}, seed {seed}:\n{traceback.format_exc()}")
        words = f"{type(error).__name__}: {error}"[:200]
        bars.append(Bar(f"{place.name}: all faults are tried", "tried", words, False))
    return bars


async def _try_all(place: Place[S], site: S, scale: Scale, seed: int, report: Report, bars: list[Bar]) -> None:
    """Add the bar of each trial as soon as it has ended, and then those of all together."""
    before = [node.memory_kb() for node in site.nodes]
    for fault in place.faults:
        trial = await tried(site, fault, scale, seed, report)
        bars.append(trial.bar())
    after = [node.memory_kb() for node in site.nodes]
    growth = max(end - begin for begin, end in zip(before, after, strict=True)) / 1024
    times = sum(fault.times(scale) for fault in place.faults)
    bars += _bars_of_logs(place.name, site.nodes, times, growth)


def _bars_of_logs(place: str, nodes: Sequence[Node], times: int, growth: float) -> list[Bar]:
    logs = [node.lines() for node in nodes]
    repeated = sum(node.repeated_starts for node in nodes)
    tracebacks = sum("Traceback" in line for log in logs for line in log)
    lines = max(len(log) for log in logs) / times
    return [
        none_of(f"{place}: tracebacks in the logs", tracebacks),
        # The store and the bus are there at each start of these places.
        none_of(f"{place}: starts of a node that ended, and were repeated", repeated),
        at_most(f"{place}: lines of a node's log for each fault", lines, MOST_LINES_A_FAULT, digits=0),
        at_most(f"{place}: growth of a node", growth, MOST_GROWTH_MB, " MB", digits=0),
    ]


PROOF = Proof("faults", "kills, disks, links, failovers, clocks and pauses, while users talk", prove)
