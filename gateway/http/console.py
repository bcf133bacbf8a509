"""The page at `/`: one HTML file, one module, one style sheet."""

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
async def script() -> FileResponse:
    """Give the page its module."""
    return FileResponse(FILES / "console.js", media_type="text/javascript", headers=HEADERS)


@router.get("/console.css")
async def style() -> FileResponse:
    """Give the page its style sheet."""
    return FileResponse(FILES / "console.css", headers=HEADERS)
