"""What a service may send over `/ws/service`: the table of its messages, and its answers with their chunks."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from gateway.chat.workers.session import ServiceSession
from gateway.transport import frames
from handlers.errors import Forbidden, InternalError, MessageError, TooLarge, UnknownType, ValidationFailed
from handlers.factory import readable_id
from schemas.base import ClientMessage, Empty, FieldError
from schemas.messages.services import ServeReply, ServeRoutes
from schemas.messages.system import PingReply

logger = logging.getLogger(__name__)

ANSWER = "reply"
CHUNK = "chunk"
"""The types of an answer, and of a part of one before. All other messages are in the table."""

_KEYS = frozenset({"type", "id", "data", "error", "effects"})
_CHUNK_KEYS = frozenset({"type", "id", "data"})


def _ping(session: ServiceSession, _: Empty) -> PingReply:
    return PingReply(server_time=session.now())


def _serve(session: ServiceSession, asked: ServeRoutes) -> ServeReply:
    """Serve the named routes, or raise `Forbidden` if one is not for this service."""
    allowed = session.routes()
    if not allowed.keys() >= set(asked.types):
        known = ", ".join(f"`{pattern}`" for pattern in sorted(allowed)[:20]) or "none"
        raise Forbidden(
            "a type is no route of the routes file that workers of this service may serve; write each as it is there."
            f" It may serve: {known}"
        )
    types = tuple(dict.fromkeys(asked.types))
    if not session.is_leaving:
        session.gateway.workers.serve(session.worker, types, asked.parallel)
    return ServeReply(types=types, parallel=asked.parallel)


@dataclass(frozen=True)
class _Message:
    schema: type[BaseModel]
    handle: Callable[[ServiceSession, Any], BaseModel]


MESSAGES: Mapping[str, _Message] = {
    "ping": _Message(Empty, _ping),
    "route.serve": _Message(ServeRoutes, _serve),
}


async def handle(session: ServiceSession, request_data: dict[str, Any]) -> None:
    """Handle one message. Answer a wrong one with an error; the connection lives on."""
    try:
        kind = request_data.get("type")
        if kind == ANSWER:
            _take_answer(session, request_data)
        elif kind == CHUNK:
            await _take_chunk(session, request_data)
        else:
            _handle(session, request_data)
    except MessageError as error:
        session.ws.refuse(readable_id(request_data), error)
    except Exception:
        logger.exception("a message of a worker failed")
        session.ws.refuse(readable_id(request_data), InternalError(session.connection))


def _handle(session: ServiceSession, request_data: dict[str, Any]) -> None:
    message = _validated(ClientMessage, request_data)
    known = MESSAGES.get(message.type)
    if known is None:
        raise UnknownType(message.type, (*MESSAGES, ANSWER, CHUNK))
    data = _validated(known.schema, {} if message.data is None else message.data, "data")
    reply = known.handle(session, data)
    if message.id is not None:
        session.ws.outbox.reply(frames.reply(message.id, reply))


def _take_answer(session: ServiceSession, request_data: dict[str, Any]) -> None:
    call = request_data.get("id")
    if session.worker.forgives(call):
        session.ws.refund()
    if not request_data.keys() <= _KEYS or ("data" in request_data) == ("error" in request_data):
        session.worker.fail(call, "a worker's answer has wrong keys")
        raise ValidationFailed((FieldError(field="data", message=_EXPECTED),))
    session.worker.answer(
        call, orjson.dumps({key: value for key, value in request_data.items() if key not in ("type", "id")})
    )


async def _take_chunk(session: ServiceSession, request_data: dict[str, Any]) -> None:
    call, data = request_data.get("id"), request_data.get("data")
    if session.worker.forgives(call):
        session.ws.refund()
    if request_data.keys() != _CHUNK_KEYS or data is None:
        session.worker.fail_in_the_middle(call, "a worker's chunk has wrong keys, or no data")
        raise ValidationFailed((FieldError(field="data", message=_EXPECTED_OF_CHUNK),))
    size = len(orjson.dumps(data))
    if size > session.max_chunk_bytes:
        session.worker.fail_in_the_middle(
            call, f"expected a chunk of at most {session.max_chunk_bytes} bytes, got {size}"
        )
        raise TooLarge(size, session.max_chunk_bytes)
    if session.worker.chunk(call, data, size).are_many:
        await asyncio.sleep(0)  # so that they are sent on before more comes


_EXPECTED_OF_CHUNK = "expected any JSON but null; besides `type` and `id`, only `data` may come"
_EXPECTED = "expected `data` or `error`, and not both; besides `type` and `id`, only `effects` may come"


def _validated(schema: type[BaseModel], value: object, *prefix: str) -> Any:
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise ValidationFailed.from_pydantic(error, *prefix) from None
