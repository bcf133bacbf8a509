"""`POST /api/batch`: up to a hundred operations in one request."""

import asyncio
import logging
from itertools import groupby

from fastapi import APIRouter
from pydantic import ValidationError

from gateway.api.caller import Caller, SendingCaller
from gateway.api.descriptions import service_refusals
from gateway.api.operations import OPERATIONS
from gateway.api.strict_route import ServiceRoute
from gateway.core.logs import request_id
from handlers.errors import InternalError, MessageError, UnknownType, ValidationFailed
from schemas.api.batch import Batch, BatchItem, BatchReply, BatchResult
from schemas.codes import Status

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/api", tags=["server API"], route_class=ServiceRoute)


@router.post(
    "/batch",
    summary="Does up to a hundred operations.",
    response_model_exclude_none=True,
    responses=service_refusals(body=True),
)
async def post_batch(caller: SendingCaller, data: Batch) -> BatchReply:
    """Do up to a hundred operations, one after the other. One that fails stops no other.

    Each counts as a request for `GATEWAY_SERVICE_RATE`. With an `Idempotency-Key`, each message has a key of its own,
    by its place.
    """
    caller.charge(len(data.items) - 1)
    results: list[BatchResult] = []
    # Consecutive messages share commits. They reach the log in their order, since none waits before that.
    for _, some in groupby(enumerate(data.items), lambda each: None if _is_message(each[1]) else each[0]):
        results += await asyncio.gather(*(_outcome(caller.of_item(number), item) for number, item in some))
    return BatchReply(results=tuple(results))


def _is_message(item: BatchItem) -> bool:
    return item.operation == "publish" and isinstance(item.data, dict) and "message" in item.data


async def _outcome(caller: Caller, item: BatchItem) -> BatchResult:
    try:
        return await _run(caller, item)
    except MessageError as error:
        return _refused(error)
    except Exception:  # the operations before it are done, and their results must be known
        logger.exception("an operation of a batch failed")
        return _refused(InternalError(request_id.get()))


async def _run(caller: Caller, item: BatchItem) -> BatchResult:
    operation = OPERATIONS.get(item.operation)
    if operation is None:
        raise UnknownOperation(item.operation, OPERATIONS)
    try:
        data = operation.schema.model_validate(item.data)
    except ValidationError as error:
        raise ValidationFailed.from_pydantic(error, "data") from None
    reply = await operation.run(caller, data)
    return BatchResult(status=Status.OK, data=reply.model_dump(mode="json", exclude_none=True))


def _refused(error: MessageError) -> BatchResult:
    return BatchResult(status=int(error.status), error=error.body())


class UnknownOperation(UnknownType):
    """An operation that no service can do. The text names the nearest ones."""

    def __str__(self) -> str:
        return super().__str__().replace("no handler for this type", "no such operation")
