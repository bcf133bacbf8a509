"""The endpoint `/ws/service`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.services import ServiceAuth
from gateway.chat.websocket import GatewayWebSocket
from gateway.chat.workers.authentication import worker_authentication
from gateway.chat.workers.messages import handle
from gateway.chat.workers.session import open_session
from gateway.http.wrong_place import SERVICE_PATH

router = APIRouter()


@router.websocket(SERVICE_PATH)
async def serve(ws: GatewayWebSocket, auth: Annotated[ServiceAuth, Depends(worker_authentication)]) -> None:
    """Serve one connection of a service: take its answers, in order, one at a time."""
    async with open_session(ws, auth) as session:
        async for request_data in ws.iter_json():
            await handle(session, request_data)
