"""`gateway restart`: workers are replaced one after another, and the command waits for it."""

import re
from pathlib import Path

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import serving
from tests.gateway.operating.conftest import Operator

pytestmark = pytest.mark.server


async def test_all_workers_are_replaced_and_named(tmp_path: Path, nodes: list[Gateway]) -> None:
    bus = nodes[0].settings.bus_url
    with serving(tmp_path, "--workers", "2", GATEWAY_BUS_URL=bus, GATEWAY_BUS_PREFIX="restarted") as served:
        operator = Operator(tmp_path / "data")
        before = {each["worker"]: each["pid"] for each in await operator.status()}
        assert before.keys() == {0, 1}
        *lines, last = (await operator.succeed("restart")).splitlines()
        assert last == "all workers are new"
        after = {each["worker"]: each["pid"] for each in await operator.status()}
        assert after.keys() == {0, 1}
        assert not set(before.values()) & set(after.values())
        assert {tuple(map(int, re.findall(r"\d+", line))) for line in lines} == {
            (before[worker], after[worker]) for worker in (0, 1)
        }
        assert len(await operator.audited("workers_replaced")) == 1
        assert served.process.poll() is None


async def test_a_gateway_without_workers_is_refused_in_words(operator: Operator) -> None:
    assert (await operator.run("restart")).problem.startswith("this gateway has no workers that could take turns")
    assert (await operator.run("restart", "--wait", "soon")).problem.startswith("--wait: expected a duration")
