"""The endpoint that all of this is for."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket

from gateway.auth.authorizers import AuthResult
from gateway.auth.dependencies import websocket_authentication
from gateway.services import ServicesDep
from gateway.session import open_session
from gateway.websocket import GatewayWebSocket

router = APIRouter()


async def gateway_websocket(ws: WebSocket, services: ServicesDep) -> GatewayWebSocket:
    """Give FastAPI's WebSocket as ours. Not async, FastAPI would call it in a thread."""
    return GatewayWebSocket(ws.scope, ws.receive, ws.send, services.settings, services.clock)


@router.websocket("/ws/chat")
async def chat(
    ws: Annotated[GatewayWebSocket, Depends(gateway_websocket)],
    auth: Annotated[AuthResult, Depends(websocket_authentication)],
    services: ServicesDep,
) -> None:
    """Serve one connection: each message goes to its handler, in order, one at a time."""
    async with open_session(ws, auth, services) as session:
        async for request_data in ws.iter_json():
            handler = services.factory.get_handler(session=session, request_data=request_data)
            await handler.run()
