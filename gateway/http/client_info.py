"""The origin of a request, as a dependency."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.core.client_info import ClientInfo, client_info_of


async def client_info(connection: HTTPConnection) -> ClientInfo:
    """Return what `caller_of` returns. FastAPI would call a plain function in a thread."""
    return client_info_of(connection)


ClientInfoDep = Annotated[ClientInfo, Depends(client_info)]
