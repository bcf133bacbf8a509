"""The Postman collection: Postman's own command finds no mistake, and logs in with it; and it sees wrong ones."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.documents.place import Place
from gateway.documents.postman import postman
from gateway.testing import running_gateway
from tests.gateway.documents.odd_messages import ODD_TYPES, odd_catalog, text_of
from tests.gateway.documents.written import write
from tests.support.lacking import lacking
from tests.support.node import TOOLS

PROGRAM = TOOLS / "node_modules/@postman/pm-bin-linux-x64/bin/postman"
COLLECTION = Path("postman/collections/json-gateway")
MESSAGES = COLLECTION / ".resources/WebSocket.resources/messages"
WAIT_SECONDS = 100

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def messages() -> dict[str, dict[str, Any]]:
    """The files of messages, by name."""
    files = postman(odd_catalog(), Place())
    return {name: yaml.safe_load(text) for name, text in files.items() if name.startswith(str(MESSAGES))}


def test_each_example_is_a_message_in_a_file_of_its_own() -> None:
    found = messages()
    assert len(found) == sum(len(message.examples) for message in odd_catalog().messages)
    for name, message in found.items():
        assert name.endswith(".message.yaml")
        assert message["$kind"] == "websocket-message"
        assert message["contentType"] == "json"
        assert "{{" not in message["content"].replace("{{token}}", "")
    frames = [json.loads(message["content"]) for message in found.values()]
    assert [frame["type"] for frame in frames] == [
        message.type for message in odd_catalog().messages for _ in message.examples
    ]
    assert [frame["id"] for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame["data"]["text"] for frame in frames[-len(ODD_TYPES) :]] == [text_of(each) for each in ODD_TYPES]


def test_the_socket_knows_its_messages_and_takes_the_token_of_the_log_in() -> None:
    files = postman(odd_catalog(), Place("https://example.com/rt", "wss://example.com/rt"))
    socket = yaml.safe_load(files[str(COLLECTION / "WebSocket.request.yaml")])
    assert COLLECTION / socket["messages"] == MESSAGES
    assert socket["queryParams"] == [{"key": "token", "value": "{{token}}"}]
    variables = yaml.safe_load(files[str(COLLECTION / ".resources/definition.yaml")])["variables"]
    values = {each["key"]: each["value"] for each in variables}
    assert values["ws_url"] == "wss://example.com/rt"
    assert values["token"] == ""
    script = yaml.safe_load(files[str(COLLECTION / "Log in.request.yaml")])["scripts"][0]
    assert 'set("token", pm.response.json().access_token)' in script["code"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run Postman's command with a home of its own."""
    if not PROGRAM.exists():
        lacking("needs Postman's command, which `make test` installs on Linux with an x86 processor")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"HOME": str(tmp_path / "home")}
        command = [str(PROGRAM), "collection", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )

    (tmp_path / "home").mkdir()
    return run


@pytest.mark.server
def test_the_official_check_finds_nothing_in_it_and_all_that_is_wrong(tmp_path: Path, run: Run) -> None:
    write(tmp_path, postman(odd_catalog(), Place()))
    # Beside it a wrong copy: one run of the command checks both.
    wrong = tmp_path / COLLECTION.with_name("wrong")
    shutil.copytree(tmp_path / COLLECTION, wrong)
    for name, right, slip in (
        ("WebSocket", "messages: './.resources/WebSocket.resources/messages'", "messages: []"),
        ("Log in", "$kind: 'http-request'", "$kind: 'http-requst'"),
        ("Register", "body:", "  {: ["),
    ):
        file = wrong / f"{name}.request.yaml"
        file.write_text(file.read_text().replace(right, slip))
    checked = run("lint", str(COLLECTION.parent), "--reporter", "json", "--fail-severity", "warning")
    assert checked.returncode == 1
    report = json.loads(checked.stdout)
    assert report["filesScanned"] == 6
    found = {Path(each["filePath"]).relative_to(tmp_path): each["ruleId"] for each in report["diagnostics"]}
    assert found == {
        COLLECTION.with_name("wrong") / "WebSocket.request.yaml": "FMT015",
        COLLECTION.with_name("wrong") / "Log in.request.yaml": "FMT014",
        COLLECTION.with_name("wrong") / "Register.request.yaml": "FMT018",
    }


@pytest.mark.server
def test_the_official_command_registers_and_logs_in_with_it(tmp_path: Path, run: Run) -> None:
    with running_gateway() as gateway:
        write(tmp_path, postman(odd_catalog(), Place(gateway.url, gateway.ws_url)))
        done = run("run", str(COLLECTION))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/users [201 Created" in done.stdout
    assert "/token [200 OK" in done.stdout
    assert "The gateway has issued a token" in done.stdout
    assert "WebSocket (ws-raw-request)" in done.stdout  # the command runs no WebSocket, but has read it
