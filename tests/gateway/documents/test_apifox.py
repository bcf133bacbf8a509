"""The Apifox project: its structure, ids that stay, and the token of the log-in."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gateway.documents.apifox import NAME, apifox
from gateway.documents.catalog import catalog_of
from gateway.documents.place import Place
from handlers.registry import BUILT_IN
from tests.gateway.documents.odd_messages import ODD_TYPES, odd_catalog, text_of

Item = dict[str, Any]


def project() -> Item:
    """The project of a gateway with odd messages."""
    made: Item = json.loads(apifox(odd_catalog(), Place("https://example.com", "wss://example.com"))[NAME])
    return made


def sockets(made: Item) -> list[Item]:
    """All WebSocket requests."""
    return [item for folder in made["webSocketCollection"][0]["items"] for item in folder["items"]]


def ids(value: Any) -> Iterator[str]:
    """All ids of items and parameters; a request has the id of its item."""
    if isinstance(value, dict):
        if "id" in value and "path" not in value:
            yield str(value["id"])
        for each in value.values():
            yield from ids(each)
    elif isinstance(value, list):
        for each in value:
            yield from ids(each)


def test_each_example_is_a_request_in_the_folder_of_its_kind() -> None:
    made = project()
    folders = [folder["name"] for folder in made["webSocketCollection"][0]["items"]]
    assert {"chat", "room", "presence"} <= set(folders)
    assert len(set(folders)) == len(folders)
    requests = sockets(made)
    assert len(requests) == sum(len(message.examples) for message in odd_catalog().messages)
    for request in requests:
        assert request["api"]["path"] == "{{ws_url}}/ws/chat"
        (token,) = request["api"]["parameters"]["query"]
        assert (token["name"], token["value"], token["example"]) == ("token", "{{token}}", "{{token}}")
    frames = [json.loads(request["api"]["requestBody"]["message"]) for request in requests]
    texts = {frame["type"]: frame["data"]["text"] for frame in frames if frame["type"] in ODD_TYPES}
    assert texts == {each: text_of(each) for each in ODD_TYPES}


def test_the_log_in_keeps_the_token_in_the_environment() -> None:
    made = project()
    register, log_in = made["apiCollection"][0]["items"]
    assert (register["api"]["path"], log_in["api"]["path"]) == ("/users", "/token")
    (script,) = log_in["api"]["postProcessors"]
    assert 'pm.environment.set("token", pm.response.json().access_token)' in script["data"]
    (environment,) = made["environments"]
    values = {each["name"]: each["value"] for each in environment["variables"]}
    assert values["ws_url"] == "wss://example.com"
    assert values["token"] == ""
    module = made["moduleSettings"][0]["id"]
    assert environment["baseUrls"][module] == "https://example.com"
    assert str(log_in["moduleId"]) == module


def test_each_id_is_there_once_and_stays_in_the_next_export() -> None:
    made = project()
    twice = [id for id, times in Counter(ids(made)).items() if times > 1]
    assert set(twice) <= {"default", made["moduleSettings"][0]["id"]}
    fewer = json.loads(apifox(catalog_of(BUILT_IN), Place())[NAME])
    before = {(item["name"], item["id"]) for item in sockets(fewer)}
    assert before <= {(item["name"], item["id"]) for item in sockets(made)}


def test_only_variables_of_the_log_in_are_in_double_braces() -> None:
    text = apifox(odd_catalog(), Place())[NAME]
    for name in ("ws_url", "token", "username", "password"):
        text = text.replace(f"{{{{{name}}}}}", "")
    assert "{{" not in text
