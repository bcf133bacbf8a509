"""The downloads at `/docs/export/{format}`: the files of `gateway export`, with this gateway's address in them.

A single file comes as itself, so its URL is a source for tools that read again now and then. Several come as a zip.
"""

import io
from pathlib import PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.documents.exports import FORMATS, Format, files_of
from gateway.documents.place import Files
from gateway.http.documents import catalog_for, place_of
from gateway.state import GatewayStateDep
from handlers.errors import NotFound

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {".json": "application/json", ".js": "text/javascript", ".yaml": "application/yaml"}
HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


@router.get("/docs/export/{name}")
def export(name: str, request: Request, state: GatewayStateDep) -> Response:
    """Return the files of a format. Making them takes a moment, so FastAPI calls this in a thread."""
    wanted = FORMATS.get(name)
    if wanted is None:
        raise NotFound(f"there is no export of this name; there are {', '.join(FORMATS)}")
    return _download(wanted, files_of(wanted, catalog_for(state), place_of(request), request.app.openapi))


def _download(format: Format, files: Files) -> Response:
    if len(files) > 1:
        return _attachment(f"json-gateway-{format.name}.zip", _zipped(files), "application/zip")
    ((path, text),) = files.items()
    name = PurePosixPath(path)
    return _attachment(name.name, text.encode(), _MEDIA_TYPES.get(name.suffix, "text/plain; charset=utf-8"))


def _attachment(name: str, content: bytes, media_type: str) -> Response:
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=media_type)


def _zipped(files: Files) -> bytes:
    """Return the files as a zip, which is the same each time."""
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for path, text in files.items():
            entry = ZipInfo(path)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return content.getvalue()
