"""The endpoint `/ws/chat`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.authorizers import AuthResult
from gateway.chat.authentication import websocket_authentication
from gateway.chat.session import open_session
from gateway.chat.websocket import GatewayWebSocket
from gateway.state import state_of

router = APIRouter()


@router.websocket("/ws/chat")
async def chat(ws: GatewayWebSocket, auth: Annotated[AuthResult, Depends(websocket_authentication)]) -> None:
    """Serve one connection: pass each message to its handler, in order, one at a time."""
    state = state_of(ws)
    async with open_session(ws, auth) as session:
        async for request_data in ws.iter_json():
            handler = state.factory.get_handler(session=session, request_data=request_data)
            state.counters.handled[type(handler)] += 1
            await handler.run()
