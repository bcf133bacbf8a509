"""The order of requests in real time, which the order of a room's changes must follow."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Operation:
    """An answered request: when it began and ended, and which change it made, or up to which change it read."""

    began: float
    ended: float
    changed: int
    is_read: bool = False
    is_repeated: bool = False
    """Whether an earlier try may have made the change, at a time that nothing tells."""


@dataclass
class Order:
    """All answered requests, by room."""

    operations: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))

    def note(self, room: str, operation: Operation) -> None:
        """Record an answered request."""
        self.operations[room].append(operation)

    def late(self) -> list[str]:
        """Return the changes that stand before another one that was acknowledged before their request began."""
        return self._behind(is_read=False)

    def stale_reads(self) -> list[str]:
        """Return the joins that show less than was acknowledged before they began."""
        return self._behind(is_read=True)

    def _behind(self, *, is_read: bool) -> list[str]:
        return [
            f"{room}: at {floor} already, but then {operation}"
            for room, operations in self.operations.items()
            for operation, floor in with_floors(operations)
            if operation.is_read is is_read and not operation.is_repeated and not fits(operation, floor)
        ]


def fits(operation: Operation, floor: int) -> bool:
    """Return whether a request may come after the change with this number."""
    return operation.changed >= floor if operation.is_read else operation.changed > floor


def with_floors(operations: list[Operation]) -> list[tuple[Operation, int]]:
    """Return each request with the highest change that was acknowledged before it began."""
    ends = sorted((each for each in operations if not each.is_read), key=lambda each: each.ended)
    floor, passed = 0, 0
    found = []
    for operation in sorted(operations, key=lambda each: each.began):
        while passed < len(ends) and ends[passed].ended < operation.began:
            floor = max(floor, ends[passed].changed)
            passed += 1
        found.append((operation, floor))
    return found
