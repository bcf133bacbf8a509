"""A Postman collection in version 3, which is a folder of YAML files: a log-in, and a WebSocket with all messages.

Postman opens the folder that contains `postman/`. The script of the log-in keeps the token as a variable of the
collection.
"""

from collections.abc import Iterator
from typing import Any

from gateway.documents.catalog import Catalog
from gateway.documents.place import Files, Place
from gateway.documents.requests import (
    CONNECT,
    FORM,
    LOG_IN,
    PASSWORD,
    REGISTER,
    USERNAME,
    Names,
    frame_text,
    titles,
)
from gateway.documents.yaml import yaml_text

_KEEP = """\
pm.test("The gateway has issued a token", function () {
  pm.response.to.have.status(200);
});
pm.collectionVariables.set("token", pm.response.json().access_token);"""

_ABOUT = (
    f"1. Send **{REGISTER}** once, or set the variables `username` and `password` for a user of yours.\n"
    f"2. Send **{LOG_IN}**. Its script keeps the token.\n"
    f"3. Open **{CONNECT}**, connect, and send its messages. Most need the room of `room.join`."
)


def postman(catalog: Catalog, place: Place) -> Files:
    """Return the files of a collection, below `postman/collections/`."""
    folder = f"postman/collections/{Names().take(place.name)}"
    messages = f"./.resources/{CONNECT}.resources/messages"
    files = {
        ".resources/definition.yaml": _definition(place),
        f"{REGISTER}.request.yaml": _register(),
        f"{LOG_IN}.request.yaml": _log_in(),
        f"{CONNECT}.request.yaml": _connect(messages),
    }
    files |= {f"{messages[2:]}/{name}.message.yaml": message for name, message in _messages(catalog)}
    return {f"{folder}/{name}": yaml_text(content) for name, content in files.items()}


def _definition(place: Place) -> dict[str, Any]:
    variables = {
        "http_url": place.http_url,
        "ws_url": place.ws_url,
        "username": USERNAME,
        "password": PASSWORD,
        "token": "",
    }
    return {
        "$kind": "collection",
        "name": f"{place.name} {place.version}",
        "description": _ABOUT,
        "variables": _pairs(variables),
    }


def _register() -> dict[str, Any]:
    user = '{"username": "{{username}}", "password": "{{password}}"}'
    return _post("/users", {"type": "json", "content": user}, 1000)


def _log_in() -> dict[str, Any]:
    script = {"type": "afterResponse", "language": "text/javascript", "code": _KEEP}
    return _post("/token", {"type": "urlencoded", "content": _pairs(FORM)}, 2000) | {"scripts": [script]}


def _post(path: str, body: dict[str, Any], order: int) -> dict[str, Any]:
    return {"$kind": "http-request", "method": "POST", "url": "{{http_url}}" + path, "order": order, "body": body}


def _connect(messages: str) -> dict[str, Any]:
    return {
        "$kind": "websocket-request",
        "url": "{{ws_url}}/ws/chat",
        "order": 3000,
        "queryParams": _pairs({"token": "{{token}}"}),
        "messages": messages,
    }


def _messages(catalog: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each message with the name of its file. The file says its title, if that is another."""
    names = Names()
    number = 0
    for message in catalog.messages:
        for heading, example in zip(titles(message), message.examples, strict=True):
            number += 1
            name = names.take(heading)
            content = frame_text(message, example, number)
            named = {} if name == heading else {"name": heading}
            head = {"$kind": "websocket-message", **named, "order": number * 1000}
            yield name, {**head, "contentType": "json", "content": content}


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
