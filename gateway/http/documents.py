"""Documents about the messages of this gateway: for tools, as AsyncAPI."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.documents.asyncapi import asyncapi
from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.place import Place
from gateway.state import GatewayState, GatewayStateDep

router = APIRouter(include_in_schema=False)

NO_CACHE = {"Cache-Control": "no-cache"}


@router.get("/asyncapi.json")
def asyncapi_document(request: Request, state: GatewayStateDep) -> Response:
    """Return the description of the WebSocket. Making it takes a moment, so FastAPI calls this in a thread."""
    [text] = asyncapi(catalog_for(state), place_of(request)).values()
    return Response(text, media_type="application/json", headers=NO_CACHE)


def catalog_for(state: GatewayState) -> Catalog:
    """Return the catalog of this gateway, with the routes that it has now."""
    return catalog_of(state.factory.registry, state.routes.current.routes)


def place_of(request: Request) -> Place:
    """Return this gateway's address as the client knows it."""
    url = str(request.base_url).rstrip("/")
    return Place(url, "ws" + url.removeprefix("http"))
