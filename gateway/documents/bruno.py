"""A Bruno collection in the format OpenCollection, as one file: a log-in, and a WebSocket with all messages by name.

Bruno imports the file. The script of the log-in keeps the token as a variable until Bruno ends.
"""

from collections.abc import Iterator
from typing import Any

from gateway.documents.catalog import Catalog
from gateway.documents.place import Files, Place
from gateway.documents.requests import CONNECT, FORM, LOG_IN, PASSWORD, REGISTER, USERNAME, frame_text, titles
from gateway.documents.yaml import yaml_text

NAME = "json-gateway.bruno.yml"
VERSION = "1.0.0"
"""The version of OpenCollection."""

_KEEP = """\
test("The gateway has issued a token", function () {
  expect(res.status).to.equal(200);
});
bru.setVar("token", res.body.access_token);"""

_ABOUT = (
    f"1. Send **{REGISTER}** once, or set the variables `username` and `password` of the collection.\n"
    f"2. Send **{LOG_IN}**. Its script keeps the token.\n"
    f"3. Open **{CONNECT}**, connect, and send its messages. Most need the room of `room.join`."
)


def bruno(catalog: Catalog, place: Place) -> Files:
    """Return the collection."""
    collection = {
        "opencollection": VERSION,
        "info": {"name": place.name, "version": place.version},
        "request": {"variables": _variables(place)},
        "docs": {"content": _ABOUT, "type": "text/markdown"},
        "items": [_register(), _log_in(), _connect(catalog)],
        "bundled": True,
    }
    return {NAME: yaml_text(collection)}


def _variables(place: Place) -> list[dict[str, str]]:
    variables = {
        "http_url": place.http_url,
        "ws_url": place.ws_url,
        "username": USERNAME,
        "password": PASSWORD,
    }
    return [{"name": name, "value": value} for name, value in variables.items()]


def _register() -> dict[str, Any]:
    user = '{"username": "{{username}}", "password": "{{password}}"}'
    return _post(REGISTER, 1, "/users", {"type": "json", "data": user})


def _log_in() -> dict[str, Any]:
    form = [{"name": name, "value": value} for name, value in FORM.items()]
    script = {"type": "after-response", "code": _KEEP}
    request = _post(LOG_IN, 2, "/token", {"type": "form-urlencoded", "data": form})
    return request | {"runtime": {"scripts": [script]}}


def _post(name: str, number: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "info": {"name": name, "type": "http", "seq": number},
        "http": {"method": "POST", "url": "{{http_url}}" + path, "body": body},
    }


def _connect(catalog: Catalog) -> dict[str, Any]:
    return {
        "info": {"name": CONNECT, "type": "websocket", "seq": 3},
        "websocket": {"url": "{{ws_url}}/ws/chat?token={{token}}", "message": list(_messages(catalog))},
    }


def _messages(catalog: Catalog) -> Iterator[dict[str, Any]]:
    number = 0
    for message in catalog.messages:
        for heading, example in zip(titles(message), message.examples, strict=True):
            number += 1
            chosen = {"selected": True} if number == 1 else {}
            yield {
                "title": heading,
                **chosen,
                "message": {"type": "json", "data": frame_text(message, example, number)},
            }
