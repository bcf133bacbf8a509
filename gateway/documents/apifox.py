"""An Apifox project: a log-in, a WebSocket request for each message, and the environment with their variables.

Only Apifox's own format has WebSockets. Its maker documents no schema, so this follows exports of the program, and it
is experimental. An id depends on the name alone: a program that reads the file again finds each request again.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import Any

from gateway.documents.catalog import Catalog
from gateway.documents.descriptions import MessageDescription
from gateway.documents.place import Files, Place
from gateway.documents.requests import FORM, LOG_IN, PASSWORD, REGISTER, USERNAME, frame_text, title, titles

NAME = "json-gateway.apifox.json"

Item = dict[str, Any]

_KEEP = """\
pm.test("The gateway has issued a token", function () {
  pm.response.to.have.status(200);
});
pm.environment.set("token", pm.response.json().access_token);"""

_ABOUT = f"Choose the environment. Send {REGISTER} once, then {LOG_IN}: its script keeps the token. Then connect."

# The name of the root folder is Apifox's own.
_ROOT = "根目录"
_MODULE = "module"
_EMPTY = (
    "socketCollection",
    "socketIOCollection",
    "customEndpointCollection",
    "mcpClientCollection",
    "docCollection",
    "responseCollection",
    "schemaCollection",
    "securitySchemeCollection",
    "requestCollection",
    "apiTestCaseCollection",
    "testCaseReferences",
    "commonScripts",
    "databaseConnections",
    "globalVariables",
    "commonParameters",
)
"""Lists that an export of the program always has."""


class Ids:
    """Numbers of items, each once. The same name gets the same number in every export."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def of(self, *names: str) -> int:
        """Return the number of an item."""
        for attempt in count():
            digest = sha256("\0".join((*names, str(attempt))).encode("utf-8", "surrogatepass")).digest()
            number = 10**8 + int.from_bytes(digest[:8], "big") % (9 * 10**8)
            if number not in self._taken:
                break
        self._taken.add(number)
        return number


def apifox(catalog: Catalog, place: Place) -> Files:
    """Return the project, as one file."""
    ids = Ids()
    module = ids.of(_MODULE)
    project = {
        "apifoxProject": "1.0.0",
        "$schema": {"app": "apifox", "type": "project", "version": "1.2.0"},
        "info": {
            "name": place.name,
            "description": _ABOUT,
            "mockRule": {"rules": [], "enableSystemRule": True},
        },
        "projectSetting": {
            "id": str(ids.of("setting")),
            "servers": [{"id": "default", "name": place.name, "moduleId": module}],
        },
        "apiCollection": [_root(ids, "requests", module, [_register(ids, module), _log_in(ids, module)])],
        "webSocketCollection": [_root(ids, "messages", module, list(_folders(catalog, ids, module)))],
        "environments": [_environment(place, ids, module)],
        "moduleSettings": [
            {"id": str(module), "name": place.name, "description": "", "moduleVariables": [], "openApiInfo": {}}
        ],
        **{name: [] for name in _EMPTY},
    }
    # Not `json_text`: variables stay as they are, and the texts in it have no other double braces.
    return {NAME: json.dumps(project, indent=2) + "\n"}


def _root(ids: Ids, kind: str, module: int, items: list[Item]) -> Item:
    return {"id": ids.of("root", kind), "name": _ROOT, "moduleId": module, "parentId": 0, "items": items}


def _register(ids: Ids, module: int) -> Item:
    user = '{"username": "{{username}}", "password": "{{password}}"}'
    # Versions of the program differ in the place of the example.
    examples = {"example": user, "examples": [{"mediaType": "application/json", "value": user, "data": user}]}
    body = {"type": "application/json", "parameters": [], "jsonSchema": {"type": "object"}, **examples}
    return _post(REGISTER, "/users", body, ids, module)


def _log_in(ids: Ids, module: int) -> Item:
    form = [_parameter(name, value, LOG_IN, ids) for name, value in FORM.items()]
    body = {"type": "application/x-www-form-urlencoded", "parameters": form}
    item = _post(LOG_IN, "/token", body, ids, module)
    script = {"type": "customScript", "data": _KEEP, "defaultEnable": True, "enable": True}
    item["api"]["postProcessors"] = [{"id": str(ids.of("script", LOG_IN)), **script}]
    return item


def _post(name: str, path: str, body: Item, ids: Ids, module: int) -> Item:
    api = {
        "id": ids.of("request", name),
        "method": "post",
        "path": path,
        "moduleId": module,
        "parameters": {"query": [], "path": [], "header": [], "cookie": []},
        "requestBody": body,
        "responses": [],
        "preProcessors": [],
        "postProcessors": [],
        "tags": [],
        "status": "released",
    }
    return {"name": name, "moduleId": module, "api": api}


def _folders(catalog: Catalog, ids: Ids, module: int) -> Iterator[Item]:
    """Yield a folder for each first part of types."""
    folders: dict[str, list[Item]] = {}
    number = count(1)
    for message in catalog.messages:
        folder = folders.setdefault(title(message.type.partition(".")[0]), [])
        for heading, example in zip(titles(message), message.examples, strict=True):
            folder.append(_message(message, heading, example, next(number), ids, module))
    for name, items in folders.items():
        yield {"id": ids.of("folder", name), "name": name, "moduleId": module, "items": items}


def _message(message: MessageDescription, heading: str, example: Any, number: int, ids: Ids, module: int) -> Item:
    key = ids.of("message", message.type, heading)
    token = _parameter("token", "{{token}}", f"{message.type} {heading}", ids)
    api = {
        "id": str(key),
        "path": "{{ws_url}}/ws/chat",
        "moduleId": module,
        "parameters": {"query": [token], "path": [], "header": [], "cookie": []},
        "requestBody": {"parameters": [], "message": frame_text(message, example, number)},
        "description": title(message.summary),
        "tags": [],
        "status": "released",
        "ordering": number,
        "advancedSettings": {},
    }
    return {"id": key, "name": heading, "moduleId": module, "api": api}


def _parameter(name: str, value: str, owner: str, ids: Ids) -> Item:
    # Versions of the program differ in the key of the value.
    return {
        "id": str(ids.of("parameter", owner, name)),
        "name": name,
        "required": True,
        "type": "string",
        "example": value,
        "value": value,
        "enable": True,
    }


def _environment(place: Place, ids: Ids, module: int) -> Item:
    variables = {"http_url": place.http_url, "ws_url": place.ws_url, "username": USERNAME, "password": PASSWORD}
    return {
        "id": ids.of("environment"),
        "name": place.name,
        "type": "normal",
        "visibility": "SHARED",
        "ordering": 1,
        "baseUrls": {str(module): place.http_url, "default": place.http_url},
        "websocketBaseUrls": {str(module): place.ws_url},
        "variables": [
            {"id": str(ids.of("variable", name)), "name": name, "value": value, "type": "string"}
            for name, value in (variables | {"token": ""}).items()
        ],
        "parameters": {},
    }
