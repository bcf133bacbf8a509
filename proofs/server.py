"""A gateway as a proof starts it: an end that is not in order fails the proof."""

from benchmarks import rig

LAST_LINES = 20


class Server(rig.Server):
    """`gateway serve`, which must not crash, and must end by itself after SIGTERM."""

    def take_bad_end(self, fault: str) -> None:
        """Raise `RuntimeError` with the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError("\n".join([f"the gateway {fault}", *lines[-LAST_LINES:]]))
