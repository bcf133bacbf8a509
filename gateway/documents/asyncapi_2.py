"""The same document in AsyncAPI 2.6.0, for importers that know no 3.0, Postman's older ones among them.

2.6.0 has no replies. So a channel has only what clients may publish, and what they may subscribe to.
"""

from typing import Any

from gateway.documents import asyncapi
from gateway.documents.catalog import Catalog
from gateway.documents.place import Place

VERSION = "2.6.0"

_MESSAGES = "#/components/messages/"


def document(catalog: Catalog, place: Place) -> dict[str, Any]:
    """Return the document."""
    new = asyncapi.document(catalog, place)
    [server] = new["servers"].values()
    [channel] = new["channels"].values()
    components, schemes = new["components"], new["components"]["securitySchemes"]
    tags = components["tags"]
    sent = [_name(each) for operation in _with(new, "receive") for each in operation["messages"]]
    heard = [name for name in components["messages"] if name not in sent]
    return {
        "asyncapi": VERSION,
        "id": f"{place.http_url}/asyncapi.json",
        "info": {key: value for key, value in new["info"].items() if key != "tags"},
        "defaultContentType": new["defaultContentType"],
        "tags": [tags[_name(each)] for each in new["info"]["tags"]],
        "servers": {
            "gateway": {
                "url": server["host"] + server.get("pathname", ""),
                "protocol": server["protocol"],
                "description": server["description"],
                "security": [{_name(each): []} for each in server["security"]],
            }
        },
        "channels": {
            channel["address"]: {
                "description": channel["description"],
                "bindings": channel["bindings"],
                "publish": _operation("publish", "What a client sends.", sent),
                "subscribe": _operation("subscribe", "Replies, errors, chunks and events.", heard),
            }
        },
        "components": {
            "messages": {name: _message(name, each, tags) for name, each in components["messages"].items()},
            "schemas": components["schemas"],
            "securitySchemes": {name: _scheme(each) for name, each in schemes.items() if "scopes" not in each},
            "correlationIds": components["correlationIds"],
        },
        **{key: value for key, value in new.items() if key.startswith("x-")},
    }


def _with(new: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [each for each in new["operations"].values() if each["action"] == action]


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _operation(name: str, summary: str, messages: list[str]) -> dict[str, Any]:
    choices = [{"$ref": _MESSAGES + each} for each in messages]
    return {"operationId": name, "summary": summary, "message": {"oneOf": choices}}


def _message(name: str, message: dict[str, Any], tags: dict[str, Any]) -> dict[str, Any]:
    return {"messageId": name} | message | {"tags": [tags[_name(each)] for each in message["tags"]]}


def _scheme(scheme: dict[str, Any]) -> dict[str, Any]:
    """Return a security scheme. A log-in has its scopes under another name."""
    if "flows" not in scheme:
        return scheme
    flows = {
        name: {"tokenUrl": flow["tokenUrl"], "scopes": flow["availableScopes"]}
        for name, flow in scheme["flows"].items()
    }
    return scheme | {"flows": flows}
