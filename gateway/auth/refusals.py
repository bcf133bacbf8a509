"""How a refused connection ends."""

from http import HTTPStatus

from gateway.auth.origins import ForbiddenOrigin
from handlers.errors import MessageError, NotFound, TokenExpired, TokenRevoked
from schemas.codes import Close


def close_of(error: MessageError) -> Close:
    """Find the close that goes with the error of a handshake."""
    if isinstance(error, TokenExpired):
        return Close.REFUSED_EXPIRED
    if isinstance(error, TokenRevoked):
        return Close.REFUSED_REVOKED
    if isinstance(error, ForbiddenOrigin):
        return Close.FORBIDDEN_ORIGIN
    if isinstance(error, NotFound):
        return Close.NOT_FOUND
    if error.retryable:
        return Close.OVERLOADED
    return Close.AUTHENTICATION_FAILED if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR else Close.INTERNAL_ERROR
