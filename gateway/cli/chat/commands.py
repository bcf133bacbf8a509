"""The commands that a line may hold: `/call TYPE [DATA]` sends any message."""

import json

from gateway.cli.chat.screen import AnyMessage, Line

HELP = (
    "/call TYPE [DATA] sends any message, /quit leaves, and // begins a line with a slash; there are no other commands"
)
CALL = 'expected /call TYPE [DATA], such as: /call echo {"say": "hello"}'


def line_of_input(number: int, text: str) -> Line:
    """Return what was typed as a line to send. If it is a wrong command, the line says so."""
    if text.startswith("//"):
        return Line(number, text.removeprefix("/"))
    if not text.startswith("/"):
        return Line(number, text)
    command, _, rest = text.strip().partition(" ")
    if command != "/call":
        return Line(number, text, HELP)
    try:
        return Line(number, text, message=_message(rest.strip()))
    except ValueError as error:
        return Line(number, text, str(error))


def _message(words: str) -> AnyMessage:
    kind, _, data = words.partition(" ")
    if not kind:
        raise ValueError(CALL)
    if not data.strip():
        return AnyMessage(kind, {})
    try:
        read = json.loads(data)
        # Python reads more than JSON has: NaN, and half of a surrogate pair.
        json.dumps(read, ensure_ascii=False, allow_nan=False).encode()
        return AnyMessage(kind, read)
    except (ValueError, RecursionError):
        raise ValueError(f"{CALL}; the data is not JSON") from None
