"""Where a request comes from, as a dependency."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.core.client_info import Caller, caller_of


async def caller(connection: HTTPConnection) -> Caller:
    """Do what `caller_of` does. Not async, FastAPI would call it in a thread."""
    return caller_of(connection)


CallerDep = Annotated[Caller, Depends(caller)]
