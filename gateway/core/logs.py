"""Log lines: one event each, with the request's id, and never a credential."""

import json
import logging
import logging.config
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple, TextIO
from urllib.parse import unquote_plus

from gateway.core.folding import LINES_A_MINUTE, Folding, LeftOut

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the HTTP request or WebSocket connection that is being served."""

client_request_id: ContextVar[str | None] = ContextVar("client_request_id", default=None)
"""The id that a WebSocket's client or proxy gave it, which is in the log beside our own."""

client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
"""The address, as limits count it, of the client that is being served; None while no client is."""

TRACEBACKS_A_MINUTE = 5
"""Lines with a traceback, which is some kilobytes long, of one kind and address. A kind is one place in the code."""

_CREDENTIALS = re.compile(
    # A JWT, also one that was cut short: its header is JSON, so it starts with {" in base64.
    r"eyJ[A-Za-z0-9_\-]{8,}[A-Za-z0-9_\-.=]*"
    # A refresh token.
    r"|gwr_[A-Za-z0-9_\-]*"
    # The value of a parameter, header, field or cookie that carries a credential.
    r"|(?<=token=)[^&\s\"]+"
    r"|(?<=ticket=)[^&\s\"]+"
    r"|(?<=password=)[^&\s\"]+"
    # Places where none is looked for, and some clients put theirs.
    r"|(?<=jwt=)[^&\s\"]+"
    r"|(?<=auth=)[^&\s\"]+"
    r"|(?<=key=)[^&\s\"]+"
    r"|(?<=secret=)[^&\s\"]+"
    r"|(?<=bearer=)[^&\s\"]+"
    r"|(?<=authorization=)[^&\s\"]+"
    r"|(?<=-token: ).+"
    r"|(?<=-key: ).+"
    # Also Basic, or a token with no scheme.
    r"|(?<=authorization: )(?!bearer ).+"
    r"|(?<=sec-websocket-protocol: )(?!gateway\.v1(?:, bearer\.\S*)?$).+"
    r"|(?<='subprotocols': \[)(?!'gateway\.v1'(?:, 'bearer\.[^']*')?\])[^\]]+"
    # All of it: what is no token may be a password with spaces, in the wrong place.
    r"|(?<=bearer )[^\r\n\"',]+"
    r"|(?<=\bbearer\.)[^\s\"',]+"
    r"|(?<=cookie: ).+"
    # What a client has said: the library that parses frames logs their beginnings and ends.
    r"|(?<=\b(?-i:TEXT|CONT) )['\"].+",
    re.IGNORECASE,
)

# A word with something percent-encoded in it. It is looked for where words begin, so that a long one is read once.
_ENCODED = re.compile(r"(?:^|(?<=[\s\"'?]))[^\s\"'?]*%[0-9a-f]{2}[^\s\"]*", re.IGNORECASE)
_REDACTED = "[redacted]"

TRACE = 5


def redact(text: str) -> str:
    """Put `[redacted]` in the place of every credential."""
    text = _CREDENTIALS.sub(_REDACTED, text)
    return _ENCODED.sub(_redact_encoded, text) if "%" in text else text


def _redact_encoded(found: re.Match[str]) -> str:
    # Whoever writes `%74oken=` for `token=` is understood as well.
    decoded = unquote_plus(found[0]).replace(_REDACTED, "")
    return _REDACTED if _CREDENTIALS.search(decoded) else found[0]


class TextFormatter(logging.Formatter):
    """A line for a person: time, level, request, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(request_id)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Write the local time with its offset, so that the lines of machines in several zones can be compared."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        """Write the record, redacted as a whole: a traceback may quote what the message does not."""
        given = client_request_id.get()
        record.request_id = request_id.get() if given is None else f"{request_id.get()}/{given}"
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message on one line, so that no sender can forge another."""
        # uvicorn passes the traceback of a failed start as the message.
        if not record.message.startswith("Traceback"):
            record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """A line for a machine: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record, redacted field by field."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "request_id": request_id.get(),
            **({"client_request_id": given} if (given := client_request_id.get()) is not None else {}),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class RedactingFilter(logging.Filter):
    """Redacts records on their way to handlers that are not ours, such as those of another ASGI server."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without its credentials."""
        # Part by part: uvicorn's formatter for access lines takes the arguments apart again.
        record.msg = redact(str(record.msg))
        if isinstance(record.args, tuple):
            record.args = tuple(_redact_argument(argument) for argument in record.args)
        elif record.args:
            record.args = {name: _redact_argument(argument) for name, argument in record.args.items()}
        # And as a whole, where it takes two parts to see what one of them is: `< Cookie: …`.
        if (line := redact(record.getMessage())) != record.getMessage():
            record.msg, record.args = line, ()
        return True


def _redact_argument(argument: object) -> object:
    return argument if isinstance(argument, int | float) else redact(str(argument))


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error. What one client causes again and again is written a few times a minute, then counted.

    DEBUG and TRACE, and uvicorn's access log, are written whole: an operator asks for them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines = Folding(LINES_A_MINUTE)
        self._tracebacks = Folding(TRACEBACKS_A_MINUTE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after the numbers of what was left out; or leave it out."""
        now = self._clock()
        for folding in (self._lines, self._tracebacks):
            self._say_left_out(folding.left_out(now))
        if record.levelno < logging.INFO or record.name == "uvicorn.access":
            super().emit(record)
            return
        folding = self._tracebacks if record.exc_info else self._lines
        if folding.admits(_kind_of(record), client_address.get(), now):
            super().emit(record)

    def close(self) -> None:
        """Write what is still to be said, and close."""
        self._say_left_out([*self._lines.left_out(), *self._tracebacks.left_out()])
        super().close()

    def _say_left_out(self, left_out: list[LeftOut]) -> None:
        for kind, address, count in left_out:
            assert isinstance(kind, _Kind)  # noqa: S101 - made by `_kind_of`
            client = "" if address is None else f" that {address} caused"
            message = f"left out {count} more lines like {kind.like!r}{client}"
            super().emit(logging.LogRecord(kind.logger, kind.level, __file__, 0, message, None, None))


class _Kind(NamedTuple):
    logger: str
    level: int
    like: str


def _kind_of(record: logging.LogRecord) -> _Kind:
    """Return the kind of a line: its template, or its place in the code where it may be written together already."""
    like = str(record.msg) if record.args else f"{record.filename}:{record.lineno}"
    return _Kind(record.name, record.levelno, like)


class NoVersionComplaint(logging.Filter):
    """Drops the one warning that passlib 1.7.4 gives about every bcrypt since 4.1, which it works with."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is anything else."""
        return "error reading bcrypt version" not in record.getMessage()


class NoFloods(logging.Filter):
    """Drops what another line says better, and most lines about clients that do not speak the protocol.

    Of the latter, one of a kind is let through in a second, without its traceback. uvicorn warns of each: a
    client could fill the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is about something else, or the first in this second."""
        message = str(record.msg)
        if message in _SAID_OTHERWISE:
            return False
        if not message.startswith(_ABOUT_BAD_CLIENTS):
            return True
        record.exc_info = None
        if record.created - self._last.get(message, 0) < 1:
            return False
        self._last[message] = record.created
        return True


# Of each handshake, by `websockets`: uvicorn has a line about it too, which names the client and the path.
_SAID_OTHERWISE = {"connection open", "connection rejected (%d %s)"}

_ABOUT_BAD_CLIENTS = (
    "Invalid HTTP request received",
    "Invalid UTF-8 sequence received",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


def guard_logs() -> None:
    """Keep credentials out of the logs, and floods, whichever server runs the application.

    uvicorn writes the whole path of a WebSocket, `?token=` included, on the logger `uvicorn.error`.
    """
    # It warns of each form that is none.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    uvicorn = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, NoFloods) for each in uvicorn.filters):
        uvicorn.addFilter(NoFloods())
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "hypercorn.error", "hypercorn.access"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, RedactingFilter) for each in logger.filters):
            logger.addFilter(RedactingFilter())
    passlib = logging.getLogger("passlib.handlers.bcrypt")
    if not any(isinstance(each, NoVersionComplaint) for each in passlib.filters):
        passlib.addFilter(NoVersionComplaint())


def configure_logs(level: str, form: str) -> None:
    """Send every log line to standard error, as `text` or `json`. For the command; a library never does this."""
    logging.addLevelName(TRACE, "TRACE")
    formatter = JsonFormatter if form == "json" else TextFormatter
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": formatter}},
            "handlers": {"stderr": {"()": FoldingHandler, "formatter": "line"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {
                # At DEBUG the first two write a line per statement or frame, which drowns everything else.
                "aiosqlite": {"level": "INFO"},
                "alembic": {"level": "WARNING"},
                # At INFO it writes a line for each question to an outside service.
                "httpx2": {"level": "WARNING"},
                # At INFO it writes a line for each change of any file, such as the database; uvicorn names the code's.
                "watchfiles": {"level": "WARNING"},
            },
        }
    )
    guard_logs()
