"""`POST /ws/ticket`: a token becomes a ticket, which opens one WebSocket."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from gateway.auth.tickets import TICKET_SECONDS
from gateway.http.authentication import TicketRequester
from gateway.http.documented_errors import refusals
from gateway.http.oauth import NO_STORE
from gateway.state import GatewayStateDep
from schemas.token import Ticket

router = APIRouter(tags=["log in"])


@router.post(
    "/ws/ticket",
    summary="Returns a ticket, which opens one WebSocket.",
    response_model=Ticket,
    responses=refusals(401, 403, 422, 429, 503),
)
async def buy_ticket(auth: TicketRequester, state: GatewayStateDep) -> Response:
    """Return a ticket for `/ws/chat?ticket=…`. The request needs an `Authorization: Bearer` header.

    The ticket opens one connection within `expires_in` seconds. The connection has the scopes and the end of the token.
    `service` names the service that checks the token, as for a connection.
    """
    ticket = Ticket(ticket=await state.tickets.issue(auth), expires_in=TICKET_SECONDS)
    return JSONResponse(ticket.model_dump(), headers=NO_STORE)
