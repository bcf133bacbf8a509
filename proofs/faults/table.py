"""All places where faults happen. To add a fault, write how it is made and how it ends into the table of its place."""

from collections.abc import Sequence
from typing import Any

from proofs.faults import clocks, disks, kills, links, sentinels, switches
from proofs.faults.fault import Place

LANES: Sequence[Sequence[Place[Any]]] = (
    (links.PLACE,),
    (kills.ALONE, disks.PLACE, disks.POWER, clocks.PLACE),
    (kills.TWO_NODES, sentinels.PLACE, switches.PLACE),
)
"""The places of a lane come one after the other, and all lanes run side by side: they mostly wait."""
