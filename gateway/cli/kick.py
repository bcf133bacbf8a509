"""`gateway kick`: closes connections now, on all nodes."""

from ipaddress import ip_address
from typing import Annotated

import typer

from gateway.cli.processes import Answers, ask_nodes, counted, end
from gateway.core.local_socket import Data
from gateway.core.start_error import StartError
from schemas.names import normalized_user_name


def kick(
    user: Annotated[str | None, typer.Argument(show_default=False, help="The user, or service:NAME.")] = None,
    connection: Annotated[str | None, typer.Option(help="The id of one connection.")] = None,
    address: Annotated[str | None, typer.Option(help="All connections from an address, also without a log-in.")] = None,
    sessions: Annotated[
        bool, typer.Option("--sessions", help="End the sessions too, so that no token of theirs works.")
    ] = False,
) -> None:
    """Close the connections of a user, one by id, or all from an address, on all nodes.

    Their clients do not come back by themselves. But without --sessions their tokens stay good.
    """
    given = [each for each in (user, connection, address) if each is not None]
    if len(given) != 1:
        raise StartError("expected one of USER, --connection ID and --address ADDRESS")
    if address is not None:
        _check_address(address)
    name = None if user is None else normalized_user_name(user)
    asked: Data = {"user": name, "connection": connection, "address": address, "sessions": sessions}
    answers = ask_nodes("kick", asked, ("closed", "ended", "known"))
    closed = sum(each["closed"] for each in answers.nodes.values())
    which = f"of {name}" if name is not None else f"from {address}" if address is not None else f"with id {connection}"
    if not closed and not answers.problems:
        _check_known(answers, which, asked)
    line = f"closed {counted(closed, 'connection')} {which}"
    ended = sum(each["ended"] for each in answers.nodes.values())
    if sessions:
        line += f", and ended {counted(ended, 'session')}"
    typer.echo(line)
    problems = {each["problem"] for each in answers.nodes.values() if "problem" in each}
    which_not = "some sessions were not ended" if ended else "no session was ended"
    end([*answers.problems, *(f"{which_not}: {problem}" for problem in sorted(problems))])


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        expected = "--address: expected an IP address, such as 192.0.2.7 or 2001:db8::1"
        raise StartError(f"{expected}, got {text}") from None


def _check_known(answers: Answers, which: str, asked: Data) -> None:
    if asked["connection"] is not None:
        raise StartError(f"there is no connection {which}; see: gateway tail")
    if asked["user"] is not None and not any(each["known"] for each in answers.nodes.values()):
        raise StartError(f"there is no user and no connection {which}; see: gateway users list")
