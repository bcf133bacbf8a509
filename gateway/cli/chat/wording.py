"""Formats frames as lines to read. All text from the wire passes through `clean` before it is shown."""

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from gateway_client.errors import Refused

# Control characters could control the reader's terminal. Bidirectional ones can reverse the meaning of a line.
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_NAME_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


def clean(text: str) -> str:
    """Return text from the wire as one line that is safe to print. A line break becomes ⏎."""
    text = text.replace("\r\n", "\n").replace("\n", " ⏎ ").replace("\t", " ")
    return "".join(
        character
        for character in text
        if unicodedata.category(character) not in _FORBIDDEN_CATEGORIES and character not in _BIDIRECTIONAL
    )


def explain(error: Mapping[str, Any]) -> str:
    """Return the words of an error: what is wrong with each field, or else its message."""
    details = error.get("details")
    if not isinstance(details, list) or not details:
        return clean(str(error.get("message", "no reason given")))
    fields = (f"{detail.get('field', '')}: {detail.get('message', '')}" for detail in details)
    return clean("; ".join(field.removeprefix("data.") for field in fields))


def words_of(refused: Refused) -> str:
    """Return the words of a refusal, as `explain` does."""
    details = [{"field": each.field, "message": each.message} for each in refused.details]
    return explain({"message": refused.message, "details": details})


def line_of(type: str, data: Mapping[str, Any]) -> Text | None:
    """Return an event as a line, or None if it needs no line."""
    match type:
        case "chat.message":
            return _message(data)
        case "chat.edited":
            return _message(data, " (edited)")
        case "chat.deleted":
            return _message({**data, "deleted": True})
        case "room.joined":
            return Text(f"→ {_field(data, 'user')} joined", style="dim")
        case "room.left":
            return Text(f"← {_field(data, 'user')} left", style="dim")
        case "room.invited":
            return Text(f"{_field(data, 'by')} invites you to {_name(data)}: join it to accept", style="dim")
        case "room.added":
            return Text(f"{_field(data, 'by')} has made you a member of {_name(data)}", style="dim")
        case "announcement":
            when = _time(_field(data, "sent_at"))
            return Text(f"{when} announcement of {_field(data, 'sender')}: {_content(data)}", style="bold yellow")
    return None


def head_of(message: Mapping[str, Any], remark: str = "") -> Text:
    """Return the beginning of a message's line: when it was sent, and its sender."""
    sender = _field(message, "sender")
    colour = _NAME_COLOURS[sum(sender.encode()) % len(_NAME_COLOURS)]
    return Text.assemble((_time(_field(message, "sent_at")), "dim"), " ", (sender, f"bold {colour}"), remark, ": ")


def _message(data: Mapping[str, Any], remark: str = "") -> Text:
    what = ("(deleted)", "dim") if data.get("deleted") else (_content(data), "")
    return Text.assemble(head_of(data, remark), what)


def _content(data: Mapping[str, Any]) -> str:
    if data.get("text") is not None:
        return _field(data, "text")
    return clean(json.dumps(data.get("body"), ensure_ascii=False))


def _name(data: Mapping[str, Any]) -> str:
    room = data.get("room")
    return _field(room, "name") if isinstance(room, Mapping) else ""


def _field(data: Mapping[str, Any], name: str) -> str:
    return clean(str(data.get(name) or ""))


def _time(sent_at: str) -> str:
    try:
        moment = datetime.fromisoformat(sent_at).astimezone()
    except ValueError:
        return "--:--"
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
