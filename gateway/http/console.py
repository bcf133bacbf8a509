"""The page at `/`: one HTML file, three modules, one style sheet."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

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
    """Show the page."""
    return FileResponse(FILES / "index.html", headers=HEADERS)


@router.get("/console.js")
async def console() -> FileResponse:
    """Give the page its module."""
    return _module("console.js")


@router.get("/connection.js")
async def connection() -> FileResponse:
    """Give that module the connection."""
    return _module("connection.js")


@router.get("/messages.js")
async def messages() -> FileResponse:
    """Give it the messages of a room."""
    return _module("messages.js")


@router.get("/console.css")
async def style() -> FileResponse:
    """Give the page its style sheet."""
    return FileResponse(FILES / "console.css", headers=HEADERS)


def _module(name: str) -> FileResponse:
    return FileResponse(FILES / name, media_type="text/javascript", headers=HEADERS)
