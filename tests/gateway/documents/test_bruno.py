"""The Bruno collection: Bruno's own converter and schema read it, and what Bruno writes again is the same."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.documents.bruno import NAME, bruno
from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.place import Place
from handlers.registry import Registry
from handlers.system import PingHandler
from tests.gateway.documents.odd_messages import ODD_TYPES, odd_catalog, text_of
from tests.gateway.documents.written import write
from tests.support.node import TOOLS, environment, node

WAIT_SECONDS = 100

pytestmark = pytest.mark.server


def read_by_bruno(folder: Path, catalog: Catalog) -> "subprocess.CompletedProcess[str]":
    """Let Bruno's converter read the collection of a catalog."""
    write(folder, bruno(catalog, Place()))
    return read(folder / NAME)


def read(file: Path) -> "subprocess.CompletedProcess[str]":
    """Let Bruno's converter read a file."""
    command = [node(), str(TOOLS / "bruno.mjs"), str(file)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)


def test_bruno_reads_all_of_it_and_writes_the_same_again(tmp_path: Path) -> None:
    done = read_by_bruno(tmp_path, odd_catalog())
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    items = {item["name"]: item for item in answer["collection"]["items"]}
    assert list(items) == ["Register", "Log in", "WebSocket"]
    assert 'bru.setVar("token", res.body.access_token)' in items["Log in"]["request"]["script"]["res"]
    assert items["WebSocket"]["request"]["url"] == "{{ws_url}}/ws/chat?token={{token}}"
    messages: list[dict[str, Any]] = items["WebSocket"]["request"]["body"]["ws"]
    assert len(messages) == sum(len(message.examples) for message in odd_catalog().messages)
    assert "chat.send (2)" in [message["name"] for message in messages]
    assert [message["selected"] for message in messages].count(True) == 1
    frames = [json.loads(message["content"]) for message in messages]
    assert [frame["data"]["text"] for frame in frames[-len(ODD_TYPES) :]] == [text_of(each) for each in ODD_TYPES]
    ours, again = yaml.safe_load((tmp_path / NAME).read_text()), answer["again"]
    assert again["items"][2]["websocket"] == ours["items"][2]["websocket"]
    assert again["items"][1]["http"] == ours["items"][1]["http"] | {"auth": "none"} or again["items"][1]["http"] == {
        **ours["items"][1]["http"]
    }
    assert again["items"][1]["runtime"]["scripts"] == ours["items"][1]["runtime"]["scripts"]
    assert again["request"]["variables"] == ours["request"]["variables"]


def test_a_registry_of_one_message_is_read_too(tmp_path: Path) -> None:
    done = read_by_bruno(tmp_path, catalog_of(Registry(handlers={"ping": PingHandler})))
    assert done.returncode == 0, done.stderr
    (message,) = json.loads(done.stdout)["collection"]["items"][2]["request"]["body"]["ws"]
    assert message["name"] == "ping"


def test_bruno_refuses_a_wrong_collection(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    text = bruno(odd_catalog(), Place())[NAME]
    file.write_text(text.replace("type: 'websocket'", "type: 'websockets'").replace("'POST'", "5"))
    assert read(file).returncode != 0
