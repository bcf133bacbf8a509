"""The page at `/`: one HTML file, its modules, one style sheet, and an example of each type of message."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse

from gateway.documents.catalog import catalog_of
from gateway.documents.examples import Example, examples
from gateway.state import GatewayState, GatewayStateDep
from handlers.registry import Registry

router = APIRouter(include_in_schema=False)

FILES = Path(__file__).parent.parent / "console"
MODULES = ("calls.js", "console.js", "credential.js", "frames.js", "members.js", "messages.js", "words.js")
"""The page's own modules. Its connection is the client of `client_modules`."""

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


@router.get("/examples.json")
async def message_examples(state: GatewayStateDep) -> JSONResponse:
    """Return an example of each message type of this gateway: also of an application's own types and of routes."""
    found = [*examples(state.factory.registry), *_of_routes(state)]
    return JSONResponse([each.model_dump(mode="json", exclude_none=True) for each in found], headers=HEADERS)


def _of_routes(state: GatewayState) -> list[Example]:
    messages = catalog_of(Registry(), state.routes.current.routes).messages
    return [Example(type=each.type, about=each.summary, scope=each.scope, data=each.examples[0]) for each in messages]


@router.get("/console.css")
async def style() -> FileResponse:
    """Return the page's style sheet."""
    return FileResponse(FILES / "console.css", headers=HEADERS)


def _module(name: str) -> Callable[[], Awaitable[FileResponse]]:
    async def module() -> FileResponse:
        return FileResponse(FILES / name, media_type="text/javascript", headers=HEADERS)

    return module


for _name in MODULES:
    router.add_api_route(f"/{_name}", _module(_name))
