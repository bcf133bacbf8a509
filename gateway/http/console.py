"""The page at `/`: one HTML file, its modules, one style sheet, and an example of each type of message."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse

from gateway.documents.examples import examples
from gateway.state import GatewayStateDep

router = APIRouter(include_in_schema=False)

FILES = Path(__file__).parent.parent / "console"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(FILES / "index.html", headers=HEADERS)


@router.get("/console.js")
async def console() -> FileResponse:
    """Return the page's module."""
    return _module("console.js")


@router.get("/connection.js")
async def connection() -> FileResponse:
    """Return the module of the connection."""
    return _module("connection.js")


@router.get("/messages.js")
async def messages() -> FileResponse:
    """Return the module of a room's messages."""
    return _module("messages.js")


@router.get("/credential.js")
async def credential() -> FileResponse:
    """Return the module that keeps the refresh token."""
    return _module("credential.js")


@router.get("/members.js")
async def members() -> FileResponse:
    """Return the module that lists the members of a room."""
    return _module("members.js")


@router.get("/calls.js")
async def calls() -> FileResponse:
    """Return the module of calls with answers that stream."""
    return _module("calls.js")


@router.get("/examples.json")
async def message_examples(state: GatewayStateDep) -> JSONResponse:
    """Return an example of each message type of this gateway, an application's own types too."""
    found = examples(state.factory.registry)
    return JSONResponse([each.model_dump(mode="json", exclude_none=True) for each in found], headers=HEADERS)


@router.get("/console.css")
async def style() -> FileResponse:
    """Return the page's style sheet."""
    return FileResponse(FILES / "console.css", headers=HEADERS)


def _module(name: str) -> FileResponse:
    return FileResponse(FILES / name, media_type="text/javascript", headers=HEADERS)
