"""The JavaScript client at `/client/`, also in production: a page needs no package and no build to use it."""

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from gateway.core.bundled_files import bundled_file
from handlers.errors import NotFound

router = APIRouter(include_in_schema=False)

MODULES = {"gateway-client.js": "gateway-client.d.ts", "react.js": "react.d.ts", "room-view.js": "room-view.d.ts"}
"""The modules, each with its types, as Deno reads them."""
TYPES = (*MODULES.values(), "messages.d.ts")

_HEADERS = {"Cache-Control": "no-cache"}
_REVALIDATED = StaticFiles(check_dir=False)


@router.api_route("/client/{name}", methods=["GET", "HEAD"])
async def client_module(name: str, request: Request) -> Response:
    """Return a module or its types. A page may come from any allowed origin."""
    if name in MODULES:
        headers = _HEADERS | {"X-TypeScript-Types": f"./{MODULES[name]}"}
        return _file(name, "text/javascript", headers, request)
    if name in TYPES:
        return _file(name, "application/typescript", _HEADERS, request)
    raise NotFound(f"there is no such module; there are {', '.join(MODULES)}")


def _file(name: str, media_type: str, headers: dict[str, str], request: Request) -> Response:
    path = bundled_file(f"clients/javascript/{name}")
    answer = FileResponse(path, headers=headers, media_type=media_type, stat_result=path.stat())
    if _REVALIDATED.is_not_modified(answer.headers, request.headers):
        return NotModifiedResponse(answer.headers)
    return answer
