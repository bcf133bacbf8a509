"""`/users`: registration, and the user of the token."""

from fastapi import APIRouter, Response

from gateway.http.authentication import CurrentUser
from gateway.http.bodies import JSON_BODY, StrictRoute
from gateway.http.client_info import ClientInfoDep
from gateway.http.documented_errors import BODY, refusals
from gateway.state import GatewayStateDep
from handlers.errors import MessageError
from schemas.codes import Status
from schemas.users import NewUser, User

router = APIRouter(prefix="/users", tags=["users"], route_class=StrictRoute)


class RegistrationClosed(MessageError):
    """Only an administrator adds users here."""

    status = Status.FORBIDDEN

    def __str__(self) -> str:
        return "registration is closed; ask the operator to add you"


@router.post(
    "",
    summary="Registers a user.",
    status_code=201,
    response_model_exclude_none=True,
    responses=refusals(*BODY, 403, 409, 429, 503),
    dependencies=[JSON_BODY],
)
async def register(new: NewUser, state: GatewayStateDep, client: ClientInfoDep) -> User:
    """Register a user, if `GATEWAY_REGISTRATION` is open."""
    if not state.settings.registration_open:
        raise RegistrationClosed
    return (await state.password_login.register(new, client)).to_schema()


@router.get("/me", summary="Returns the user of the token.", response_model=User, responses=refusals(401, 403, 503))
async def me(auth: CurrentUser) -> Response:
    """Return the user of the token."""
    user = auth.stored
    assert user is not None  # noqa: S101 - a token of the gateway's own is checked in the store
    # FastAPI would check and copy the answer once more.
    return Response(user.to_schema().model_dump_json(exclude_none=True), media_type="application/json")
