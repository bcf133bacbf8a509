"""The credentials of a service as an OAuth client: its name and its key (RFC 6749 §2.3.1)."""

from base64 import b64decode
from typing import NamedTuple
from urllib.parse import unquote_plus

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from gateway.auth.service_keys import contains_key
from gateway.http.oauth import InvalidRequest, refusal, wrong_field
from handlers.errors import AuthenticationFailed

EXPECTED = "expected the name of a service as client_id and its key, gwk_…, as client_secret; in HTTP Basic or the form"


class Client(NamedTuple):
    """The name of a service and its key."""

    name: str
    key: str

    def __repr__(self) -> str:
        return f"Client({self.name!r})"


def client_of(connection: HTTPConnection, form: Client | None) -> Client:
    """Return the credentials of a request.

    Raises `AuthenticationFailed` without any, and `InvalidRequest` for a secret in both places (RFC 6749 §2.3).
    """
    check_query(connection)
    in_header = basic_client(connection)
    if in_header is not None and form is not None:
        raise InvalidRequest(wrong_field("client_secret", "expected it in HTTP Basic or in the form, got it in both"))
    found = in_header or form
    if found is None:
        raise AuthenticationFailed(EXPECTED)
    return found


def basic_client(connection: HTTPConnection) -> Client | None:
    """Return the credentials of an `Authorization: Basic` header, or None without one.

    Raises `AuthenticationFailed` for one that cannot be read. The RFC encodes both parts as in a form.
    """
    scheme, _, encoded = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, key = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise AuthenticationFailed(EXPECTED) from None
    if not colon:
        raise AuthenticationFailed(EXPECTED)
    return Client(unquote_plus(name), unquote_plus(key))


def check_query(connection: HTTPConnection) -> None:
    """Raise `AuthenticationFailed` for a key in the query, even beside a good header: URLs end up in logs."""
    query: bytes = connection.scope["query_string"]
    if query and contains_key(unquote_plus(query.decode("latin-1"))):
        raise AuthenticationFailed(
            "a key in the query string, which ends up in logs; send it in the header Authorization: Bearer,"
            " and replace it now with `gateway services rotate`"
        )


def invalid_client(error: AuthenticationFailed) -> JSONResponse:
    """Return the refusal of a client's credentials: 401, with the scheme to use (RFC 6749 §5.2)."""
    response = refusal(error, "invalid_client")
    response.headers["WWW-Authenticate"] = 'Basic realm="services", charset="UTF-8"'
    return response
