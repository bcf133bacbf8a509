"""The origin of a request, as a dependency."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.core.client_info import Caller, caller_of


async def caller(connection: HTTPConnection) -> Caller:
    """Return what `caller_of` returns. FastAPI would call a plain function in a thread."""
    return caller_of(connection)


CallerDep = Annotated[Caller, Depends(caller)]
