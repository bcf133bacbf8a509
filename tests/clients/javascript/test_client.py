"""The JavaScript client in Node: against a server that misbehaves, and against a live gateway."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.testing import MovableClock, StartGateway
from tests.support.client import PASSWORD, App
from tests.support.node import node

HERE = Path(__file__).parent
MISBEHAVING = ("connecting", "tokens", "calls", "rooms", "room-view", "waking", "memory")
WAIT_SECONDS = 60

pytestmark = pytest.mark.server


def run_cases(*names: str, **environment: str) -> None:
    """Run these files of cases in one process of Node, and fail with what it prints."""
    command = [node(), "--test", "--test-isolation=none", *(f"{name}.test.mjs" for name in names)]
    done = subprocess.run(
        command, cwd=HERE, env=os.environ | environment, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr).partition("failing tests")[2] or done.stdout + done.stderr


def test_no_server_can_confuse_it() -> None:
    run_cases(*MISBEHAVING)


async def test_a_live_gateway_and_a_network_that_breaks(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_connections_per_user=200, extend=with_a_clock)
    async with App(gateway) as app:
        users = ("alice", "bobby", "carol", "dave")
        tokens = {user: await app.token(user) for user in users}
        await asyncio.to_thread(
            run_cases,
            "live",
            GATEWAY_URL=gateway.url,
            GATEWAY_TOKENS=json.dumps(tokens),
            GATEWAY_PASSWORD=PASSWORD,
        )


def test_every_file_of_cases_is_run() -> None:
    assert {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")} == {*MISBEHAVING, "live"}


def with_a_clock(app: FastAPI) -> None:
    """Let a test move the gateway's clock."""

    async def move(request: Request) -> Response:
        clock = request.state.gateway.clock
        assert isinstance(clock, MovableClock)
        clock.ahead = float(request.query_params["seconds"])
        return Response(status_code=204)

    app.add_route("/test/clock", move, methods=["POST"])
