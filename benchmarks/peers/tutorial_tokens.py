"""The tutorial's dependencies on a JSON Web Token, for the gateway's own tokens.

They follow https://fastapi.tiangolo.com/tutorial/security/oauth2-jwt/ and its advanced page on WebSockets.
"""

import os
from typing import Annotated

from fastapi import Depends, HTTPException, Query, WebSocketException
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt

bearer = OAuth2PasswordBearer(tokenUrl="token")


def _verified(token: str) -> str:
    claims = jwt.decode(
        token, os.environ["PEER_KEY"], algorithms=["HS256"], audience="json-gateway", issuer="json-gateway"
    )
    return str(claims["sub"])


async def user_of(token: Annotated[str, Query()]) -> str:
    """Return the user's id, or refuse the connection."""
    try:
        return _verified(token)
    except JWTError:
        raise WebSocketException(code=4401) from None


async def user_of_request(token: Annotated[str, Depends(bearer)]) -> str:
    """Return the user's id, or refuse the request."""
    try:
        return _verified(token)
    except JWTError:
        raise HTTPException(status_code=401, detail="Could not validate credentials") from None
