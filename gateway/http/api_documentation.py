"""The API's documentation at `/docs` and `/redoc`, which needs nothing from the internet.

The scripts come from the package fastapi-offline. The pages are our own, since FastAPI's contain a script, which a
strict policy forbids.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(include_in_schema=False)

PAGES = Path(__file__).parent / "api_pages"
SCRIPTS = Path(str(files("fastapi_offline"))) / "static"
# Redoc makes an empty style element and fills it by script: the first hash is that of an empty text. The second is
# that of its scroll bars; without it they are the browser's. The policy blocks the logo, which is on another host.
_STYLES = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_STYLES};"
        " connect-src 'self'; img-src 'self' data:; worker-src 'self' blob:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}

Script = Literal["swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"]


@router.get("/docs")
async def swagger_page() -> FileResponse:
    """Return the page that tries the API."""
    return FileResponse(PAGES / "docs.html", headers=HEADERS)


@router.get("/docs/docs.js")
async def swagger_start() -> FileResponse:
    """Return the script that starts that page."""
    return FileResponse(PAGES / "docs.js", media_type="text/javascript", headers=HEADERS)


@router.get("/docs/pages.css")
async def pages_style() -> FileResponse:
    """Return the style of the links between the pages."""
    return FileResponse(PAGES / "pages.css", headers=HEADERS)


@router.get("/docs/{name}")
async def script(name: Script) -> FileResponse:
    """Return a script or a style sheet of the two pages."""
    return FileResponse(SCRIPTS / name, headers=HEADERS)


@router.get("/redoc")
async def redoc_page() -> FileResponse:
    """Return the page that describes the API."""
    return FileResponse(PAGES / "redoc.html", headers=HEADERS)
