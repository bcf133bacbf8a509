"""Documents about the messages of this gateway: AsyncAPI for tools, and a page for people."""

from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from gateway.documents import asyncapi, asyncapi_2, reference
from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.place import Place
from gateway.documents.plain import plain_json
from gateway.documents.reference.page import page
from gateway.state import GatewayState, GatewayStateDep

router = APIRouter(include_in_schema=False)

FILES = Path(reference.__file__).parent
NO_CACHE = {"Cache-Control": "no-cache"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    **NO_CACHE,
}


@router.get("/asyncapi.json")
def asyncapi_document(
    request: Request, state: GatewayStateDep, version: Literal["3.0.0", "2.6.0"] = "3.0.0"
) -> Response:
    """Return the description of the WebSocket. Making it takes a moment, so FastAPI calls this in a thread."""
    written = asyncapi_2.document if version == asyncapi_2.VERSION else asyncapi.document
    text = plain_json(written(catalog_for(state), place_of(request)))
    return Response(text, media_type="application/json", headers=NO_CACHE)


@router.get("/docs/messages")
def messages_page(request: Request, state: GatewayStateDep) -> Response:
    """Return the page of all messages, events, statuses and close codes."""
    return HTMLResponse(page(catalog_for(state), place_of(request)), headers=HEADERS)


@router.get("/docs/messages.js")
async def messages_script() -> FileResponse:
    """Return the script of that page."""
    return FileResponse(FILES / "messages.js", media_type="text/javascript", headers=HEADERS)


@router.get("/docs/messages.css")
async def messages_style() -> FileResponse:
    """Return the style sheet of that page."""
    return FileResponse(FILES / "messages.css", headers=HEADERS)


def catalog_for(state: GatewayState) -> Catalog:
    """Return the catalog of this gateway, with the routes that it has now."""
    return catalog_of(state.factory.registry, state.routes.current.routes)


def place_of(request: Request) -> Place:
    """Return this gateway's address as the client knows it."""
    url = str(request.base_url).rstrip("/")
    return Place(url, "ws" + url.removeprefix("http"))
