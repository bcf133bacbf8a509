"""The proofs by name, in the order in which all of them run."""

from collections.abc import Mapping
from importlib import import_module

from proofs.bar import Proof

PROOFS: Mapping[str, str] = {
    "input": "proofs.input:PROOF",
    "http": "proofs.http:PROOF",
    "idle": "proofs.idle:PROOF",
    "soak": "proofs.soak:PROOF",
    "restart": "proofs.restart:PROOF",
    "hostile": "proofs.hostile:PROOF",
    "faults": "proofs.faults:PROOF",
    "rooms": "proofs.rooms:PROOF",
}
"""Where each is. A module is imported only when its proof runs: it may need packages that another does not."""

SIDE_BY_SIDE = frozenset({"idle", "soak"})
"""Those that mostly wait, and so run at the same time."""


def proof(name: str) -> Proof:
    """Return a proof, or raise `KeyError`."""
    module, _, attribute = PROOFS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, Proof):
        raise TypeError(f"{PROOFS[name]} is no proof")
    return found


def in_groups(names: list[str]) -> list[list[str]]:
    """Return the names in their order, those that run at the same time in one list."""
    groups: list[list[str]] = []
    together: list[str] = []
    for name in names:
        if name not in SIDE_BY_SIDE:
            groups.append([name])
            continue
        if not together:
            groups.append(together)
        together.append(name)
    return groups
