"""Opens a socket, and says in words what stands in the way."""

import json
import logging
import ssl as tls
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.request import getproxies

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidProxy, InvalidStatus, ProxyError

from gateway_client.address import Address
from gateway_client.errors import Lost, Reconnect
from gateway_client.times import Times

NEVER = Reconnect.NEVER

log = logging.getLogger("gateway_client.socket")
log.addFilter(lambda record: record.levelno > logging.DEBUG)  # websockets logs each header there, and so the token

MOST_BYTES = 16 * 1024 * 1024
"""The longest frame that is read. The gateway's own frames are far shorter."""


class DirectConnect(connect):
    """Follows no redirect, as browsers do: it might lead the token to another host."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the answer as the error that it is."""
        return exc


async def open_socket(
    address: Address, token: str, *, times: Times, proxy: bool, ssl: tls.SSLContext | None
) -> ClientConnection:
    """Return an open WebSocket, or raise `Lost`."""
    options: dict[str, Any] = {"proxy": True if proxy and not address.local else None}
    options |= {} if ssl is None else {"ssl": ssl}
    try:
        return await DirectConnect(
            address.url,
            # In a header, because logs contain URLs.
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            open_timeout=times.open,
            close_timeout=times.close,
            ping_interval=None,  # `Connection.watch` does this
            max_size=MOST_BYTES,
            logger=log,
            **options,
        )
    except InvalidStatus as refused:
        raise _refused_upgrade(address, refused) from refused
    except (InvalidMessage, EOFError) as error:
        raise Lost(
            f"expected a WebSocket at {address.shown}, and the answer was no HTTP; check the port, and wss:// or ws://"
        ) from error
    except TimeoutError as error:
        raise Lost(f"{address.shown} does not answer; check the address, and the firewalls on the way") from error
    except tls.SSLCertVerificationError as error:
        words = f"the certificate of {address.shown} does not hold: {error.verify_message}"
        raise Lost(f"{words}; check the name of the host, or pass ssl= with your own authority", NEVER) from error
    except tls.SSLError as error:
        raise Lost(f"no TLS at {address.shown} ({_words(error)}); check the port, and wss:// or ws://") from error
    except (InvalidProxy, ProxyError, ImportError) as error:
        words = error.msg if isinstance(error, InvalidProxy) else _words(error)  # its words have the proxy's password
        raise Lost(f"no way through the proxy ({words}); check its variables, or pass proxy=False") from error
    except (OSError, InvalidHandshake) as error:
        way = ", and does the proxy let you through?" if options["proxy"] and getproxies() else "?"
        raise Lost(f"cannot reach {address.shown} ({_words(error)}); does the gateway run there{way}") from error


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _refused_upgrade(address: Address, refused: InvalidStatus) -> Lost:
    response = refused.response
    status, wait = response.status_code, response.headers.get("Retry-After", "")
    body = _error_in(response.body or b"")
    if body is not None:
        words, step = _gateways_own(status, body)
    else:
        words, step = _of_another(address, status, response.headers.get("Location", ""))
    seconds = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 9 else 0
    return Lost(words, step, reason=str((body or {}).get("name", "")), code=None, after_ms=seconds * 1000)


def _error_in(body: bytes | bytearray) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        error = json.loads(body)
        if isinstance(error, dict) and "message" in error and "status" in error:
            return error
    return None


def _gateways_own(status: int, body: dict[str, Any]) -> tuple[str, Reconnect]:
    words = str(body["message"])
    if status == HTTPStatus.UNAUTHORIZED:
        return words, Reconnect.NEW_CREDENTIAL
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return words, NEVER
    return words, Reconnect.WITH_BACKOFF


def _of_another(address: Address, status: int, location: str) -> tuple[str, Reconnect]:
    found = f"expected a WebSocket at {address.shown}, got HTTP {status}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.REQUEST_TIMEOUT,
    }:
        return f"{found}; check whether the proxy in front reaches the gateway", Reconnect.WITH_BACKOFF
    if location:
        return f"{found}; use the address to which it leads: {location:.200}", NEVER
    if status == HTTPStatus.UNAUTHORIZED:
        return f"{found}; check the token, and whether a proxy asks for a login of its own", Reconnect.NEW_CREDENTIAL
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UPGRADE_REQUIRED}:
        return f"{found}; check whether a proxy on the way passes on Upgrade and Connection", NEVER
    return f"{found}; check the host and the path: is it that of a gateway?", NEVER
