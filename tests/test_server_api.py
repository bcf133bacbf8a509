"""The commands of docs/server-api.md run as printed, and its lists are those of the code."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.api.operations import OPERATIONS
from schemas.services import SERVICE_SCOPES
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.services import add_service

PAGE = (Path(__file__).parents[1] / "docs/server-api.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
VARIES = {"id", "epoch"}

FAILING = 'curl() { command curl --fail-with-body "$@"; }\nset -eu -o pipefail\n'
"""Lets a script end with the first request that fails."""


async def run(script: str, **variables: str) -> str:
    """Run a script, which must succeed, and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", FAILING + script, env=variables | {"PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode == 0, (script, output)
    return output.decode()


def fixed(value: dict[str, Any]) -> dict[str, Any]:
    return {key: None if key in VARIES else item for key, item in value.items()}


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
async def test_the_commands_of_the_page_run_as_printed(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    variables = {
        "GATEWAY": gateway.url,
        "KEY": await add_service(gateway, "orders", *SERVICE_SCOPES),
        "HOOK": f"{gateway.url}/hook/{await add_service(gateway, 'ci', 'api:publish', hook_of='lobby')}",
    }
    async with App(gateway) as app, app.in_room("bob", "lobby") as bob:
        await app.register("alice")
        first, *others = COMMANDS
        [answer] = json.loads(await run(first, **variables))["results"]
        [printed] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        assert fixed(answer) == fixed(json.loads(printed)["results"][0])
        await bob.expect("chat.message", sender="service:orders", text="Order 7 is paid")
        variables["ID"] = answer["id"]
        for script in others:
            await run(script, **variables)
        heard = await bob.heard()
        texts = [event["data"]["text"] for event in heard if event["type"] == "chat.message"]
        assert sorted(texts) == ["Build 7 failed"] * 3 + ["Welcome, Alice"]
        assert [event["data"]["at"] for event in heard if event["type"] == "chat.appended"] == [len("Order 7 is paid")]


def test_the_page_has_each_operation_of_a_batch() -> None:
    table = PAGE[PAGE.index("| operation | data |") :].partition("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert sorted(named) == sorted(OPERATIONS)


async def test_the_page_has_each_request_for_services(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        paths = (await app.http.get("/openapi.json")).json()["paths"]
    described = {
        f"{method.upper()} {path.replace('{message_id}', '{id}')}"
        for path, item in paths.items()
        for method in item
        if path.startswith(("/api/", "/hook/"))
    }
    assert len(described) > 10
    assert [each for each in described if f"`{each}`" not in PAGE] == []
