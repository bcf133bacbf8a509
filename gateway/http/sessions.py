"""`/users/me/sessions` and `/users/me/password`: the user's sessions, and a new password that ends the others."""

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.http.authentication import CurrentUser
from gateway.http.bodies import JSON_BODY, StrictRoute
from gateway.http.client_info import ClientInfoDep
from gateway.http.documented_errors import BODY, refusals
from gateway.state import GatewayStateDep
from handlers.errors import NotFound
from schemas.sessions import LoginSessions
from schemas.users import PasswordChange

# The form of our own ids. Some databases fail on other texts, such as one with a NUL.
SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

router = APIRouter(prefix="/users/me", tags=["users"], responses=refusals(401, 403, 503), route_class=StrictRoute)


@router.get("/sessions", summary="Lists the user's sessions.", response_model_exclude_none=True)
async def sessions(auth: CurrentUser, state: GatewayStateDep) -> LoginSessions:
    """Return the user's sessions, the last used first."""
    rows = await state.login_sessions.list_for_user(auth.user_id)
    return LoginSessions(sessions=tuple(row.to_schema(current=row.id == auth.sid) for row in rows))


@router.delete("/sessions", summary="Ends all sessions but the current one.", status_code=204)
async def end_others(auth: CurrentUser, state: GatewayStateDep, client: ClientInfoDep) -> None:
    """End all sessions of the user but the current one, with their connections."""
    await state.login_sessions.end(auth.user_id, client, "session_ended", but=auth.sid)


@router.delete("/sessions/{id}", summary="Ends one session.", status_code=204, responses=refusals(404, 422))
async def end(id: SessionId, auth: CurrentUser, state: GatewayStateDep, client: ClientInfoDep) -> None:
    """End one session of the user, with its connections."""
    if not await state.login_sessions.end(auth.user_id, client, "session_ended", only=id):
        raise NotFound("you have no such session")


@router.put(
    "/password",
    summary="Changes the password.",
    status_code=204,
    responses=refusals(*BODY, 403, 429),
    dependencies=[JSON_BODY],
)
async def change_password(
    change: PasswordChange, auth: CurrentUser, state: GatewayStateDep, client: ClientInfoDep
) -> None:
    """Change the password, and end all sessions but the current one."""
    await state.password_login.change_password(auth.user, change.old_password, change.new_password, auth.sid, client)
