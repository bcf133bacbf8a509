"""Two nodes with a bus and data folders of their own, and an operator at the first one's machine."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import WAIT_SECONDS, Result, environment, run
from tests.support.client import App
from tests.support.nodes import running_nodes
from tests.support.valkey import running_valkey
from tests.support.waiting import until


class Operator:
    """A person with a shell beside a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._begins_at = len(self._audit_log())

    async def run(self, *arguments: str, **variables: str) -> Result:
        """Run `gateway …` to its end."""
        variables = {"GATEWAY_DATA_DIR": str(self.data_dir)} | variables
        return await asyncio.to_thread(run, self.data_dir, *arguments, **variables)

    async def succeed(self, *arguments: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = await self.run(*arguments)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    async def in_shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of a shell, for which `gateway` is the command and `$PYTHON` is Python."""
        variables = environment(self.data_dir, GATEWAY_DATA_DIR=str(self.data_dir), PYTHON=sys.executable)
        variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": WAIT_SECONDS, "check": False}
        return await asyncio.to_thread(partial(subprocess.run, ["bash", "-c", script], env=variables, **options))

    async def status(self) -> list[dict[str, Any]]:
        """Return the nodes of `gateway status`."""
        nodes: list[dict[str, Any]] = json.loads(await self.succeed("status", "--json"))["nodes"]
        return nodes

    async def audited(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Return what the audit log has of an event since this test began, once there are as many lines as this.

        A thread writes them.
        """
        await until(lambda: len(self._audited(event)) >= count)
        return self._audited(event)

    def _audited(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self._audit_log()[self._begins_at :])
        return [line for line in lines if line["event"] == event]

    def _audit_log(self) -> list[str]:
        file = self.data_dir / "audit.log"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """Two nodes for all tests here, which use users and rooms of their own, and undo what they set."""
    folder = tmp_path_factory.mktemp("operating")
    with running_valkey() as valkey, running_nodes(folder, f"sqlite:///{folder}/gateway.db", valkey) as running:
        yield running


@pytest.fixture
async def apps(nodes: list[Gateway]) -> AsyncIterator[list[App]]:
    """An app of each node. They know each other."""
    for node, other in (nodes, nodes[::-1]):
        await until(lambda: other.state.node_calls.own_id in node.state.node_calls.others)  # noqa: B023 - awaited here
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        yield [here, there]


@pytest.fixture
def operator(nodes: list[Gateway]) -> Operator:
    """The operator of the first node."""
    return Operator(nodes[0].settings.data_dir)
