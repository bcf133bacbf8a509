"""The formats of `gateway export` and of the downloads at `/docs/export/{format}`, as one table.

A format is a module of this folder with one pure function. To add one, write that function and one line of the table.
Such a module takes `Place` and `Files` from `gateway.documents.place`, since this module imports it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.documents.apifox import apifox
from gateway.documents.asyncapi import asyncapi
from gateway.documents.bruno import bruno
from gateway.documents.catalog import Catalog
from gateway.documents.http_file import http_file
from gateway.documents.json_schema import json_schema
from gateway.documents.k6 import k6
from gateway.documents.place import Files, Place
from gateway.documents.postman import postman
from gateway.documents.python_models import python
from gateway.documents.typescript import typescript

Make = Callable[[Catalog, Place], Files]
"""A function that makes the files of a format, from the catalog of messages."""

OpenApi = Callable[[], dict[str, Any]]
"""A function that returns the description of the HTTP API. Only the application has it."""


@dataclass(frozen=True)
class Format:
    """A kind of export: what it is for, and the function that makes its files."""

    name: str
    about: str
    """One line that says what opens it."""
    make: Make | None
    """None for the description of the HTTP API."""
    experimental: bool = False
    """Whether no program of its maker has read it in the tests."""


_ALL = (
    Format("asyncapi", "AsyncAPI 3.0: the WebSocket, with each message, reply, event, error and close code", asyncapi),
    Format("openapi", "OpenAPI 3.1: the HTTP API, with each message as a call and each event as a webhook", None),
    Format("jsonschema", "JSON Schema 2020-12: all frames, and a file for each message and event", json_schema),
    Format("typescript", "The types of all messages and events, for the JavaScript client", typescript),
    Format("python", "Models of pydantic for json-gateway-client, the Python client", python),
    Format("http", "A .http file, which JetBrains' HTTP Client and httpYac run", http_file),
    Format("postman", "A Postman collection in version 3: a log-in, and a WebSocket with all messages", postman),
    Format("bruno", "A Bruno collection (OpenCollection): a log-in, and a WebSocket with all messages", bruno),
    Format(
        "apifox", "An Apifox project: a log-in, and a WebSocket request for each message", apifox, experimental=True
    ),
    Format("k6", "A k6 script for load tests, which measures the answers to a message", k6),
)

FORMATS: Mapping[str, Format] = {each.name: each for each in _ALL}
"""All formats by name, in the order in which a page lists them."""


def files_of(wanted: Format, catalog: Catalog, place: Place, openapi: OpenApi) -> Files:
    """Return the files of a format."""
    if wanted.make is not None:
        return wanted.make(catalog, place)
    document = openapi() | {"servers": [{"url": place.http_url}]}
    return {"openapi.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n"}
