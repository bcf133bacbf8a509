"""Nodes that run, and those of another version."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.cli import processes
from gateway.cli.doctor import nodes
from gateway.cli.doctor.examination import examine
from gateway.cli.doctor.findings import AS_OWNER, Finding, Verdict
from gateway.cli.doctor.subject import Subject
from gateway.cli.processes import Answers
from gateway.core.local_socket import Data, LocalSocket
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.cli.doctor.conftest import bad, settings_for, worst


async def ask(folder: Path, data_dir: Path) -> list[Finding]:
    """Let the doctor look for the nodes of a data folder."""
    return [each async for each in nodes.nodes(Subject(settings_for(folder, data_dir=data_dir)))]


async def test_nodes_of_this_version_and_of_another(
    own_gateway: OwnGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no gateway runs" in (await ask(tmp_path, tmp_path / "none"))[0].found
    gateway: Gateway = own_gateway()
    folder = gateway.state.settings.data_dir
    [found] = await ask(tmp_path, folder)
    assert (found.verdict, found.found) == (Verdict.OK, f"1 node of version {__version__} runs")

    async def two(*_: Any) -> Answers:
        await asyncio.sleep(0)
        return Answers({"a": {"version": __version__}, "b": {"version": "0.9.0"}}, ["node c does not answer"])

    monkeypatch.setattr(nodes, "ask_all", two)
    found_two = await ask(tmp_path, folder)
    assert worst(found_two) is Verdict.WARNING
    assert "1 of 0.9.0" in found_two[-1].found
    assert bad(found_two[:1]).found == "node c does not answer"


async def test_a_gateway_that_hangs_is_said_not_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IDENTITY_SECONDS", 0.2)

    async def hang(_: Data) -> Data:
        await asyncio.get_running_loop().create_future()
        return {}

    sockets = [LocalSocket(), LocalSocket()]
    for each in sockets:
        each.serve("identity", hang)
        await each.listen(tmp_path)
    try:
        subject = Subject(settings_for(tmp_path, data_dir=tmp_path))
        [result] = await examine(subject, checks={"nodes": nodes.nodes})
    finally:
        for each in sockets:
            await each.close()
    found = bad(list(result.findings))
    silent = f"process {os.getpid()} did not answer within 0.2 seconds; it may hang"
    assert found.found == f"the gateway that runs here does not answer: {silent}; {silent}"
    assert found.change == "gateway status  # and its log"


async def test_missing_rights_keep_their_own_words(
    own_gateway: OwnGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_gateway().state.settings.data_dir

    def refuse(_: Path) -> list[Path]:
        raise PermissionError

    monkeypatch.setattr(processes, "sockets_in", refuse)
    found = bad(await ask(tmp_path, folder))
    assert found.found.startswith(f"cannot look into {folder}/run: ")
    assert found.change == AS_OWNER
