"""Log lines: one line for each event, with the request's id, and never with a credential."""

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
from gateway.core.trace_context import current_trace

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the current HTTP request or WebSocket connection."""

client_request_id: ContextVar[str | None] = ContextVar("client_request_id", default=None)
"""The id that the client or its proxy has chosen for a WebSocket. The log has it beside the gateway's own id."""

client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
"""The current client's address, as the limits count it. None outside a client's request."""

TRACEBACKS_A_MINUTE = 5
"""Tracebacks of one kind and address in a minute; each has some kilobytes. A kind is one place in the code."""

_CREDENTIALS = re.compile(
    # A JWT, even one that was cut short: its header is JSON, so it starts with {" in base64.
    r"eyJ[A-Za-z0-9_\-]{8,}[A-Za-z0-9_\-.=]*"
    # A refresh token.
    r"|gwr_[A-Za-z0-9_\-]*"
    # The key of a service, also in the path of an incoming webhook.
    r"|gwk_[A-Za-z0-9_\-]*"
    # The secret that signs what goes out to a service; not the bare prefix, which error texts name.
    r"|whsec_[A-Za-z0-9+/]{8,}=*"
    # The value of a parameter, header, field or cookie that carries a credential.
    r"|(?<=token=)[^&\s\"]+"
    r"|(?<=ticket=)[^&\s\"]+"
    r"|(?<=password=)[^&\s\"]+"
    # The gateway looks for no credential here, but some clients send theirs here.
    r"|(?<=jwt=)[^&\s\"]+"
    r"|(?<=auth=)[^&\s\"]+"
    r"|(?<=key=)[^&\s\"]+"
    r"|(?<=secret=)[^&\s\"]+"
    r"|(?<=bearer=)[^&\s\"]+"
    r"|(?<=authorization=)[^&\s\"]+"
    r"|(?<=-token: ).+"
    r"|(?<=-key: ).+"
    # Also with the scheme Basic, or a token without a scheme.
    r"|(?<=authorization: )(?!bearer ).+"
    r"|(?<=sec-websocket-protocol: )(?!gateway\.v1(?:, bearer\.\S*)?$).+"
    r"|(?<='subprotocols': \[)(?!'gateway\.v1'(?:, 'bearer\.[^']*')?\])[^\]]+"
    # The whole rest: a value that is no token may be a password with spaces in the wrong place.
    r"|(?<=bearer )[^\r\n\"',]+"
    r"|(?<=\bbearer\.)[^\s\"',]+"
    r"|(?<=cookie: ).+"
    # Words of a client: the library that parses frames logs the beginning and the end of each.
    r"|(?<=\b(?-i:TEXT|CONT) )['\"].+",
    re.IGNORECASE,
)

# A word with a percent-encoded character. The search starts at the start of words, so that it reads a long one once.
_ENCODED = re.compile(r"(?:^|(?<=[\s\"'?]))[^\s\"'?]*%[0-9a-f]{2}[^\s\"]*", re.IGNORECASE)
_REDACTED = "[redacted]"

TRACE = 5


def redact(text: str) -> str:
    """Replace every credential with `[redacted]`."""
    text = _CREDENTIALS.sub(_REDACTED, text)
    return _ENCODED.sub(_redact_encoded, text) if "%" in text else text


def _redact_encoded(found: re.Match[str]) -> str:
    # This recognises `%74oken=` as `token=`.
    decoded = unquote_plus(found[0]).replace(_REDACTED, "")
    return _REDACTED if _CREDENTIALS.search(decoded) else found[0]


class TextFormatter(logging.Formatter):
    """Format a record as a line for people: time, level, request, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(request_id)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the local time with its offset, so that lines from several time zones can be compared."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, and redact the whole line: a traceback may quote more than the message."""
        given, trace = client_request_id.get(), current_trace.get()
        own = request_id.get() if given is None else f"{request_id.get()}/{given}"
        record.request_id = own if trace is None else f"{own} trace={trace.trace_id}"
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the message on one line, so that no sender can forge a second line."""
        # uvicorn passes the traceback of a failed start as the message.
        if not record.message.startswith("Traceback"):
            record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Format a record as a line for machines: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, and redact each field."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "request_id": request_id.get(),
            **({"client_request_id": given} if (given := client_request_id.get()) is not None else {}),
            **({"trace_id": trace.trace_id} if (trace := current_trace.get()) is not None else {}),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class RedactingFilter(logging.Filter):
    """Redact the records for handlers of other software, such as another ASGI server."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its credentials."""
        # Each part on its own: uvicorn's formatter for access lines needs the arguments separately.
        record.msg = redact(str(record.msg))
        if isinstance(record.args, tuple):
            record.args = tuple(_redact_argument(argument) for argument in record.args)
        elif record.args:
            record.args = {name: _redact_argument(argument) for name, argument in record.args.items()}
        # And the whole line, since some credentials show only across two parts: `< Cookie: …`.
        if (line := redact(record.getMessage())) != record.getMessage():
            record.msg, record.args = line, ()
        return True


def _redact_argument(argument: object) -> object:
    return argument if isinstance(argument, int | float) else redact(str(argument))


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Write to standard error. Lines that one client repeats are written a few times a minute, and then only counted.

    DEBUG and TRACE lines and uvicorn's access log are written in full: an operator has asked for them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines = Folding(LINES_A_MINUTE)
        self._tracebacks = Folding(TRACEBACKS_A_MINUTE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after the counts of the lines that were left out; or leave it out too."""
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
        """Write the remaining counts, and close."""
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
    """Return the kind of a line: its template, or its place in the code if the message has no arguments."""
    like = str(record.msg) if record.args else f"{record.filename}:{record.lineno}"
    return _Kind(record.name, record.levelno, like)


class BcryptVersionFilter(logging.Filter):
    """Drop the one warning that passlib 1.7.4 logs about every bcrypt since 4.1, although it works with it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is anything else."""
        return "error reading bcrypt version" not in record.getMessage()


class FloodFilter(logging.Filter):
    """Drop lines that another line replaces, and most lines about clients that do not speak the protocol.

    uvicorn warns about each such client, so that one client could fill the disk. One line of a kind passes in each
    second, without its traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record: about something else, or the first of its kind in this second."""
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


# `websockets` logs these at each handshake. uvicorn's own line names the client and the path as well.
_SAID_OTHERWISE = {"connection open", "connection rejected (%d %s)"}

_ABOUT_BAD_CLIENTS = (
    "Invalid HTTP request received",
    "Invalid UTF-8 sequence received",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


def guard_logs() -> None:
    """Keep credentials and floods of lines out of the logs, under every server.

    The logger `uvicorn.error` writes the whole path of a WebSocket, including `?token=`.
    """
    # The library warns about every malformed form.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    uvicorn = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, FloodFilter) for each in uvicorn.filters):
        uvicorn.addFilter(FloodFilter())
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "hypercorn.error", "hypercorn.access"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, RedactingFilter) for each in logger.filters):
            logger.addFilter(RedactingFilter())
    passlib = logging.getLogger("passlib.handlers.bcrypt")
    if not any(isinstance(each, BcryptVersionFilter) for each in passlib.filters):
        passlib.addFilter(BcryptVersionFilter())


def configure_logs(level: str, form: str) -> None:
    """Send every log line to standard error, as `text` or `json`. Only the command does this, never the library."""
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
                # At INFO it writes lines for each upgrade of the tables.
                "alembic": {"level": "WARNING"},
                # At INFO it writes a line for each request to an external service.
                "httpx2": {"level": "WARNING"},
                # At INFO it logs each change of any file, even the database. uvicorn itself logs changes of code.
                "watchfiles": {"level": "WARNING"},
            },
        }
    )
    guard_logs()
