"""`gateway announce`: an announcement of the operator, to all connections or to a room."""

import re
from typing import Annotated

import typer

from gateway.cli.processes import ask_nodes, counted, end
from gateway.core.start_error import StartError
from schemas.messages.system import MAX_TEXT
from schemas.names import ROOM_NAME


def announce(
    text: Annotated[str, typer.Argument(show_default=False, help="The text.")],
    room: Annotated[str | None, typer.Option(help="Only the connections that hear this room.")] = None,
) -> None:
    """Send the event `announcement` to all connections, or to listeners of a room. No log keeps it."""
    if not 1 <= len(text) <= MAX_TEXT or (not text.isprintable() and re.search("[\0\ud800-\udfff]", text)):
        raise StartError(f"TEXT: expected 1 to {MAX_TEXT} characters")
    if room is not None and re.fullmatch(ROOM_NAME, room) is None:
        raise StartError("--room: expected the name of a room, such as lobby")
    # A second try after a lost answer would reach some clients twice.
    answers = ask_nodes("announce", {"text": text, "room": room}, ["reached"], repeats=False)
    reached = sum(each["reached"] for each in answers.nodes.values())
    typer.echo(f"{counted(reached, 'connection')} got it" + ("" if room is None else f" in {room}"))
    end(answers.problems)
