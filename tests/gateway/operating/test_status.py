"""`gateway status`: what an operator sees at a glance, also when something hangs."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from gateway import __version__
from gateway.core.local_socket import ask, sockets_in
from gateway.embedding import attach
from gateway.testing import Gateway, running_gateway, settings_for_tests
from gateway.testing.server import serving as running_server
from tests.gateway.cli.command import Served, Terminal, python, serving
from tests.gateway.operating.conftest import Operator
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server


async def test_each_node_is_shown_with_its_numbers_and_its_health(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    here, there = apps
    async with here.in_room("anna", "status") as one, there.connect("ben"):
        asked = asyncio.create_task(operator.status())
        while not asked.done():
            await one.ask("echo", text="hello")
        found = {each["node"]: each for each in await asked}
        assert found.keys() == {node.state.node_calls.own_id for node in nodes}
        mine, other = (found[node.state.node_calls.own_id] for node in nodes)
        assert (mine["now"]["connections"], other["now"]["connections"]) == (1, 1)
        assert mine["rates"]["messages"] > 0
        assert other["rates"]["messages"] == 0
        assert mine["version"] == __version__
        assert mine["health"] == {"status": "ready", "store": "up", "bus": "up", "hooks": "up", "upstreams": "up"}
        assert mine["bus"] == nodes[0].settings.bus_url.removeprefix("redis://").removesuffix("/0")
        out = await operator.succeed("status")
    assert "2 nodes · 2 connections" in out
    assert out.count(" ready") == 2
    assert max(map(len, out.splitlines())) <= 80


async def test_a_watch_in_a_pipe_prints_lines_and_ends_with_its_reader(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    done = await operator.in_shell("gateway status --watch | head -n 3; gateway status --watch --json | head -n 1")
    assert done.returncode == 0
    *lines, as_json = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(" ready connections=0 " in line for line in lines), lines
    assert '"connections": 0' in as_json
    assert "Traceback" not in done.stderr


def test_a_watch_on_a_terminal_is_drawn_anew_until_ctrl_c(operator: Operator, nodes: list[Gateway]) -> None:
    with Terminal(operator.data_dir, "status", "--watch", GATEWAY_DATA_DIR=str(operator.data_dir)) as terminal:
        terminal.expect("2 nodes")
        terminal.expect("ready")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


async def test_a_node_that_hangs_is_named_and_the_rest_is_shown(
    apps: list[App], operator: Operator, nodes: list[Gateway]
) -> None:
    is_over = threading.Event()
    nodes[1].loop.call_soon_threadsafe(is_over.wait, 60)
    try:
        done = await operator.run("status")
    finally:
        is_over.set()
    assert done.status == 1
    assert "1 node " in done.out
    assert done.err == f"gateway: node {nodes[1].state.node_calls.own_id[:8]} did not answer\n"


async def test_no_gateway_is_one_line(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "data")
    tmp_path.joinpath("data").mkdir()
    for command in (["status"], ["status", "--watch"], ["kick", "x-men"], ["announce", "x"], ["drain"]):
        assert (await operator.run(*command)).problem == (
            f"no gateway serves from {tmp_path}/data; name the data folder of the one that you mean with"
            " GATEWAY_DATA_DIR"
        )
    stale = socket.socket(socket.AF_UNIX)
    (tmp_path / "data" / "run").mkdir()
    stale.bind(str(tmp_path / "data" / "run" / "1.sock"))
    stale.listen()
    done = await operator.run("status")  # it accepts connections, and never answers
    assert done.problem == "process 1 did not answer within 2 seconds; it may hang"
    stale.close()
    assert "no gateway serves" in (await operator.run("status")).problem


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway in a process of its own, with a data folder that has a very long path."""
    folder = tmp_path_factory.mktemp("x" * 100) / ("y" * 100)
    folder.mkdir()
    with serving(folder) as served:
        yield served


async def test_a_stopped_process_is_named_within_seconds(served: Served) -> None:
    operator = Operator(served.folder / "data")
    assert "1 node " in await operator.succeed("status")
    served.process.send_signal(signal.SIGSTOP)
    try:
        done = await operator.run("status")
    finally:
        served.process.send_signal(signal.SIGCONT)
    [path] = sockets_in(operator.data_dir)
    assert done.problem == f"process {path.stem} did not answer within 2 seconds; it may hang"
    await until(lambda: ask(path, "identity", {}, timeout=20))
    assert "ready" in await operator.succeed("status")


async def test_log_levels_change_while_it_runs_and_go_back_by_themselves(served: Served) -> None:
    operator = Operator(served.folder / "data")
    assert await operator.succeed("log-level", "debug") == "all loggers: info → debug, on 1 node\n"
    [node] = await operator.status()
    assert node["log_levels"] == {"": "debug"}
    out = await operator.succeed("log-level", "warning", "--logger", "gateway.chat", "--for", "1s")
    assert out == "gateway.chat: debug → warning, for 1 second, on 1 node\n"
    await asyncio.to_thread(served.output.expect, "the level of gateway.chat is debug again")
    assert "log level  debug  all loggers" in await operator.succeed("status")
    assert await operator.succeed("log-level", "RESET") == "all loggers: debug → info, on 1 node\n"
    done = await operator.run("log-level", "debug", "--logger", "gateway.chats")
    assert done.problem.startswith("--logger: there is no logger gateway.chats; did you mean gateway.chat?")
    assert "expected one of critical, error" in (await operator.run("log-level", "loud")).problem
    assert "expected a duration" in (await operator.run("log-level", "info", "--for", "-1s")).problem
    first, second, third = await operator.audited("log_level_set", 3)
    assert (first["level"], second["logger"], second["seconds"], third["level"]) == (
        "debug",
        "gateway.chat",
        1,
        "reset",
    )


async def test_a_reset_of_all_loggers_ends_the_levels_of_single_ones(served: Served) -> None:
    operator = Operator(served.folder / "data")
    await operator.succeed("log-level", "debug", "--logger", "gateway.chat", "--for", "10m")
    await operator.succeed("log-level", "trace", "--logger", "gateway.rooms")
    await operator.succeed("log-level", "reset", "--logger", "gateway.rooms")
    assert "log level  debug  gateway.chat" in await operator.succeed("status")
    assert await operator.succeed("log-level", "reset") == "all loggers: info → info, on 1 node\n"
    [node] = await operator.status()
    assert node["log_levels"] == {"": "info"}


AS_ANOTHER = """
import asyncio, concurrent.futures.thread, os, pathlib, sys
from gateway.cli.processes import find
os.setgid(65534); os.setuid(65534)
asyncio.run(find(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_one_line(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_gateway(settings_for_tests(data_dir)):
        for folder in (*tmp_path.parents[:-2], tmp_path, data_dir):
            folder.chmod(0o755)
        done = python(tmp_path, "-c", AS_ANOTHER, str(data_dir))
    assert done.err.splitlines()[-1] == (
        f"gateway.core.start_error.StartError: cannot look into {data_dir}/run: run this as the gateway's user, or as"
        " root"
    )


async def test_two_gateways_without_a_bus_in_one_folder_are_both_asked(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path)
    with running_gateway(settings) as one, running_gateway(settings) as two:
        operator = Operator(tmp_path)
        assert {each["node"] for each in await operator.status()} == {one.state.bus.node, two.state.bus.node}
        async with App(one) as here, App(two) as there, here.connect("carl") as first, there.connect("carl") as second:
            assert await operator.succeed("announce", "hi") == "2 connections got it\n"
            assert await operator.succeed("kick", "carl") == "closed 2 connections of carl\n"
            for client in (first, second):
                await client.expect("announcement", text="hi")
                await client.expect("bye", code=4403)


async def test_gateways_inside_an_application_answer_as_well(tmp_path: Path) -> None:
    app = FastAPI()
    for name in ("one", "two"):
        attach(app, prefix=f"/{name}", settings=settings_for_tests(tmp_path / name))
    with running_server(uvicorn.Config(app, log_config=None)):
        for name in ("one", "two"):
            [node] = await Operator(tmp_path / name).status()
            assert node["health"]["status"] == "ready"
            assert node["store"].endswith(f"/{name}/gateway.db")
    assert "no gateway serves" in (await Operator(tmp_path / "one").run("status")).problem
