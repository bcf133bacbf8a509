"""The endpoint `/ws/chat`."""

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.authorizers import AuthResult
from gateway.chat.authentication import websocket_authentication
from gateway.chat.session import open_session
from gateway.chat.tapping import note_message
from gateway.chat.websocket import GatewayWebSocket
from gateway.state import state_of

router = APIRouter()


@router.websocket("/ws/chat")
async def chat(ws: GatewayWebSocket, auth: Annotated[AuthResult, Depends(websocket_authentication)]) -> None:
    """Serve one connection: pass each message to its handler, in order, one at a time."""
    state = state_of(ws)
    get_handler, handled, answered = state.factory.get_handler, state.counters.handled, state.counters.answered
    taps = state.taps
    async with open_session(ws, auth) as session:
        async for request_data in ws.iter_json():
            began = perf_counter()
            if taps.is_open:
                note_message(taps, session, request_data)
            handler = get_handler(session=session, request_data=request_data)
            handled[kind := type(handler)] += 1
            try:
                await handler.run()
            finally:
                if not handler.answers_later:
                    answered[kind].add_answer(perf_counter() - began, handler.answer_status)
