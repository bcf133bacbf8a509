"""`POST /hook/{key}`: an incoming webhook, a URL that speaks in one room.

It is for a shell script, a build or a monitor: the key is in the path, and the text comes as each of them sends it.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from gateway.api.caller import Caller, IdempotencyKey
from gateway.api.descriptions import hook_refusals
from gateway.api.publish import message_to_room
from gateway.http.bodies import StrictRequest, media_type
from gateway.http.client_info import ClientInfoDep
from gateway.http.forms import URLENCODED, FormRequest
from gateway.http.request_rate import note_service
from gateway.state import GatewayStateDep
from handlers.errors import AuthenticationFailed, NotFound, ValidationFailed
from schemas.api.publish import NewMessage, Published
from schemas.base import FieldError
from schemas.messages.system import MAX_TEXT

MAX_HOOK_BODY_BYTES = 64 * 1024
"""The most bytes of a body: four thousand characters in the longest form of each kind."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_WITH_TEXT = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": _WITH_TEXT, "example": {"text": "Build 7 failed"}},
        URLENCODED: {"schema": _WITH_TEXT, "example": {"text": "Build 7 failed"}},
        "text/plain": {"schema": _TEXT, "example": "Build 7 failed"},
    },
}

router = APIRouter(tags=["incoming webhooks"])


@router.post(
    "/hook/{key}",
    summary="Sends a text to the room of an incoming webhook.",
    response_model_exclude_none=True,
    responses=hook_refusals(),
    openapi_extra={"requestBody": _BODY},
)
async def post_hook(
    key: Annotated[str, Path(description="The key of the incoming webhook, `gwk_…`.")],
    request: Request,
    state: GatewayStateDep,
    client: ClientInfoDep,
    idempotency_key: IdempotencyKey = None,
) -> Published:
    """Send a text of at most 4000 characters to the room of an incoming webhook: as JSON, a form or plain text.

    The URL is a secret, because it is all that a program needs to speak in the room. A wrong key gets the answer of a
    path without a route.
    """
    try:
        auth = await state.services.authenticate_hook(key, client)
    except AuthenticationFailed:
        raise NotFound("there is nothing at this path") from None
    note_service(request)
    state.connections.charge_service(auth.user_id)
    assert auth.room is not None  # noqa: S101 - an incoming webhook has one
    caller = Caller(auth, state, client, idempotency_key)
    return await message_to_room(caller, auth.room, NewMessage(text=await _text(request)))


async def _text(request: Request) -> str:
    """Return the text of a request, in any of its forms."""
    kind = media_type(request)
    if kind == "application/json":
        # A monitor may send more. It is not asked for, and so it is left alone.
        value = await StrictRequest(request.scope, request.receive).json()
        text = value.get("text") if isinstance(value, dict) else None
    elif kind in {URLENCODED, "multipart/form-data"}:
        text = _field(await FormRequest(request.scope, request.receive).form(max_fields=100))
    elif kind in {"text/plain", ""}:
        text = _plain(await request.body())
    else:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected JSON, a form or text/plain; {_EXAMPLE}")
    return _checked(text)


_EXAMPLE = "for example: curl --json '{\"text\": \"Build failed\"}' or curl --data-urlencode 'text=Build failed'"


def _field(form: FormData) -> Any:
    return form.get("text")


def _plain(body: bytes) -> str:
    try:
        return body.decode().rstrip("\r\n")  # a shell's commands end in one
    except UnicodeDecodeError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected text in UTF-8") from None


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise _wrong(f"expected the field `text` with a string; {_EXAMPLE}")
    if not 1 <= len(text) <= MAX_TEXT:
        raise _wrong(f"expected 1 to {MAX_TEXT} characters, got {len(text)}")
    return text


def _wrong(expected: str) -> ValidationFailed:
    return ValidationFailed((FieldError(field="text", message=expected),))
