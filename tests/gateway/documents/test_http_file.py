"""The `.http` file: httpYac logs in with it, sends each message over the WebSocket, and gets each answer."""

import json
import subprocess
from collections import defaultdict
from typing import Any

import pytest

from gateway.documents.catalog import catalog_of
from gateway.documents.http_file import NAME, http_file
from gateway.documents.place import Place
from gateway.testing import running_gateway
from handlers.chat import SendHandler
from handlers.registry import Registry
from tests.gateway.documents.odd_messages import ODD_TYPES, WITH_ODD, odd_catalog, text_of
from tests.support.node import environment, tool

pytestmark = pytest.mark.server

Frame = dict[str, Any]
WAIT_SECONDS = 100


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """What httpYac reports of each request of the file, all of which it has run."""
    folder = tmp_path_factory.mktemp("http")
    with running_gateway(registry=WITH_ODD) as gateway:
        files = http_file(odd_catalog(), Place(gateway.url, gateway.ws_url))
        (folder / NAME).write_text(files[NAME])
        command = [tool("httpyac"), "send", NAME, "--all", "--json", "--no-color"]
        # A file, since httpYac ends without writing all of its report to a pipe.
        with (folder / "report.json").open("wb") as report:
            subprocess.run(command, cwd=folder, env=environment(), stdout=report, timeout=WAIT_SECONDS, check=True)
    requests: list[Frame] = json.loads((folder / "report.json").read_bytes())["requests"]
    return requests


def frames_of(request: Frame) -> list[Frame]:
    """What the gateway has sent during a request."""
    body = json.loads(request["response"]["body"])
    return [json.loads(each["body"]) for each in body["responses"]] if "responses" in body else [body]


def test_the_log_in_feeds_the_requests(ran: list[Frame]) -> None:
    register, log_in = ran[:2]
    assert register["response"]["statusCode"] == 201
    assert log_in["summary"]["successTests"] == 1
    for request in ran[2:]:
        first = frames_of(request)[0]
        assert first["type"] == "welcome" or (request["title"] == "auth" and first["status"] == 20000)


def test_each_message_is_answered(ran: list[Frame]) -> None:
    requests = ran[2:]
    assert len(requests) == sum(len(message.examples) for message in odd_catalog().messages)
    answers = defaultdict(list)
    for request in requests:
        asked = request["response"]["request"]["body"]
        answer = next(frame for frame in reversed(frames_of(request)) if "id" in frame)
        assert answer["type"] in {"reply", "error"}, asked
        answers[request["title"]].append(answer.get("status"))
    for kind in ("ping", "echo", "auth", "auth.refresh", "room.join", "chat.send", "chat.history", "presence.get"):
        assert answers[kind] == [20000], kind
    assert {status for statuses in answers.values() for status in statuses} <= {20000, 40300, 40400, 40900, 41000}


def test_what_a_message_says_comes_to_its_room(ran: list[Frame]) -> None:
    sent = next(request for request in ran if request["title"] == "chat.send")
    assert frames_of(sent)[-1]["data"]["text"] == "Hello"


def test_own_messages_arrive_as_they_are(ran: list[Frame]) -> None:
    texts = [frames_of(request)[-1].get("data", {}).get("text") for request in ran[-len(ODD_TYPES) :]]
    assert texts == [text_of(each) for each in ODD_TYPES]


def test_a_registry_without_rooms_joins_none() -> None:
    made = http_file(catalog_of(Registry(handlers={"chat.send": SendHandler})), Place())
    assert "### chat.send" in made[NAME]
    assert "room.join" not in made[NAME]
