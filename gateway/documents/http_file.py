"""Requests in a `.http` file: JetBrains' HTTP Client and httpYac run them.

Both wait for a frame of the gateway at `=== wait-for-server`. httpYac counts only the frames after its own first one,
so the token goes in the first message, before which the gateway sends nothing. httpYac logs in where a request has
`@ref`.
"""

from collections.abc import Iterator
from typing import Any

from gateway.documents.catalog import Catalog
from gateway.documents.descriptions import MessageDescription
from gateway.documents.place import Files, Place
from gateway.documents.requests import (
    FORM,
    LOG_IN,
    PASSWORD,
    REGISTER,
    USERNAME,
    frame_text,
    json_text,
    title,
    titles,
)

NAME = "json-gateway.http"
_WAIT = "=== wait-for-server"
_AUTH = '{"type": "auth", "data": {"token": "{{token}}"}}'
_JOIN = "room.join"
_WITHOUT_JOIN = {_JOIN, "room.create"}

_START = """\
# Made by `gateway export http`. Register once; then run any request of the WebSocket.
# JetBrains: run "{log_in}" first, and again when the token has ended. httpYac logs in by itself.

@http_url = {http_url}
@ws_url = {ws_url}
@username = {username}
@password = {password}

### {register}
POST {{{{http_url}}}}/users
Content-Type: application/json

{{"username": "{{{{username}}}}", "password": "{{{{password}}}}"}}

### {log_in}
# @name log_in
POST {{{{http_url}}}}/token
Content-Type: application/x-www-form-urlencoded

{form}

> {{%
client.test("The gateway has issued a token", function () {{
  client.assert(response.status === 200, "expected the status 200, got " + response.status);
}});
client.global.set("token", response.body.access_token);
%}}
"""


def http_file(catalog: Catalog, place: Place) -> Files:
    """Return one file, with a request for each example of each message."""
    start = _START.format(
        http_url=place.http_url,
        ws_url=place.ws_url,
        username=USERNAME,
        password=PASSWORD,
        form="&".join(f"{name}={value}" for name, value in FORM.items()),
        log_in=LOG_IN,
        register=REGISTER,
    )
    return {NAME: "\n".join((start, *_requests(catalog)))}


def _requests(catalog: Catalog) -> Iterator[str]:
    joins = any(message.type == _JOIN for message in catalog.messages)
    for message in catalog.messages:
        for heading, example in zip(titles(message), message.examples, strict=True):
            before = [] if message.type == "auth" else [_AUTH]
            before += [_join(example["room"])] if joins and _needs_room(message, example) else []
            frames = [*before, frame_text(message, example, max(len(before), 1))]
            yield f"### {heading}\n# {_comment(message)}\n{_connection(frames)}"


def _connection(frames: list[str]) -> str:
    """Return a request that sends frames: first the token, and then each after the answer to the one before."""
    body = f"\n{_WAIT}\n".join(frames)
    head = "# @ref log_in\nWEBSOCKET {{ws_url}}/ws/chat\nContent-Type: application/json"
    # The last wait is for the last answer. httpYac leaves out a wait without a line behind it.
    return f"{head}\n\n{body}\n{_WAIT}\n{_WAIT}\n"


def _needs_room(message: MessageDescription, example: Any) -> bool:
    return message.type not in _WITHOUT_JOIN and isinstance(example, dict) and isinstance(example.get("room"), str)


def _join(room: str) -> str:
    return json_text({"type": _JOIN, "id": 1, "data": {"room": room}})


def _comment(message: MessageDescription) -> str:
    # A comment that begins with @ would be an instruction.
    return title(message.summary).lstrip("@ ")
