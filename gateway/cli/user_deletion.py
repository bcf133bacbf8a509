"""`gateway users delete`: deletes what the store has about a user, and decides what becomes of its messages."""

import sys
from functools import partial
from typing import Annotated, Any

import typer

from gateway.cli.live_log import live_log
from gateway.cli.store import with_database
from gateway.cli.user_name import Name, unknown
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import operator
from gateway.core.clock import SystemClock
from gateway.core.start_error import StartError
from gateway.rooms.user_deletion import Deleted, Messages, UserDeletion
from gateway.store import deleted_users
from gateway.store.engine import Database
from gateway.store.users import UserRow

WORDS = {
    "sessions": ("session with its refresh tokens", "sessions with their refresh tokens"),
    "tickets": ("ticket", "tickets"),
    "groups": ("membership of a group", "memberships of groups"),
    "rooms": ("membership of a room, with its read mark", "memberships of rooms, with their read marks"),
    "owned_rooms": 2 * ("of these as an owner: the next member becomes it",),
    "direct_rooms": ("direct room, with all of its messages", "direct rooms, with all of their messages"),
    "invitations": ("invitation", "invitations"),
    "messages": ("message", "messages"),
    "events": ("event that waits for hooks", "events that wait for hooks"),
}
"""What is counted: one of it, and several."""

_OUTCOMES = {
    Messages.KEEP: "they stay, with the user's name",
    Messages.ANONYMISE: "a name that leads back to no user takes the place of their sender's",
    Messages.REMOVE: "they are deleted, and their sender's name goes too",
}


def delete(
    name: Name,
    messages: Annotated[Messages, typer.Option(help="What becomes of the user's messages.", show_default=False)],
    frees_name: Annotated[
        bool, typer.Option("--free-name", help="Let others register with the name. Otherwise no other user gets it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what there is to delete.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    last_admin: Annotated[
        bool, typer.Option("--last-admin", help="Delete even the last user with the scope admin.")
    ] = False,
) -> None:
    """Delete a user, while gateways run: the account, sessions, memberships, invitations and direct rooms.

    Its connections close within a second, and rooms hear that it has left. Run it again after an interruption: it does
    the rest. With `--messages keep`, direct rooms stay for the other user.
    """
    if frees_name and messages is Messages.KEEP:
        raise StartError("--free-name: messages that are kept need the name; add --messages anonymise or remove")

    async def check(database: Database, _: Settings) -> UserRow:
        return await _find(database, name, last_admin=last_admin)

    async def foresee(database: Database, settings: Settings) -> Deleted:
        user = await _find(database, name, last_admin=True)
        async with live_log(database, settings) as live:
            deletion = UserDeletion(database, live.log, live.bus, SystemClock(), messages, on_progress=_Progress())
            return await deletion.foresee(user)

    async def work(database: Database, settings: Settings) -> Deleted:
        user = await _find(database, name, last_admin=last_admin)
        with Audit(settings.audit_path, SystemClock()) as audit:
            about = {"user": name, "user_id": user.id, "messages": messages.value}
            audit.record("user_deletion_begun", operator(), **about)
            async with live_log(database, settings) as live:
                deletion = UserDeletion(
                    database,
                    live.log,
                    live.bus,
                    SystemClock(),
                    messages,
                    frees_name=frees_name,
                    on_progress=_Progress(),
                )
                try:
                    done = await deletion.run(user)
                except BaseException:  # also Ctrl-C
                    typer.echo("the deletion is not complete; repeat the command, which does the rest", err=True)
                    raise
            counts: dict[str, Any] = {f"deleted_{what}": count for what, count in done.counts().items()}
            audit.record("user_deleted", operator(), **about, **counts)
            return done

    if dry_run:
        _print(with_database(foresee), messages)
        typer.echo("nothing is deleted; leave out --dry-run to delete it")
        return
    if not yes:
        with_database(check)
        _confirm(name, messages)
    _print(with_database(work), messages)
    typer.echo(f"{name} is deleted" + ("" if frees_name else "; the name stays taken"))


async def _find(database: Database, name: str, *, last_admin: bool) -> UserRow:
    user = await database.query(partial(deleted_users.find, name=name))
    if user is None:
        raise unknown(name)
    if not last_admin and await database.query(partial(deleted_users.is_last_admin, user=user)):
        raise StartError(
            f"{name} is the last user with the scope admin; grant it to another user first, or add --last-admin"
        )
    return user


def _confirm(name: str, messages: Messages) -> None:
    typer.echo(f"{name} cannot come back from this. Of the messages: {_OUTCOMES[messages]}.")
    typer.confirm(f"Delete {name}?", abort=True)


def _print(deleted: Deleted, messages: Messages) -> None:
    for what, count in deleted.counts().items():
        one, several = WORDS[what]
        line = f"{count:>9} {one if count == 1 else several}"
        if what == "messages":
            if messages is not Messages.KEEP or count:
                typer.echo(f"{line}: {_OUTCOMES[messages]}")
        elif count:
            typer.echo(line)


class _Progress:
    """Shows on a terminal how far the command is."""

    def __call__(self, deleted: Deleted) -> None:
        if sys.stderr.isatty():
            print(f"\r{deleted.rooms} rooms, {deleted.messages} messages ", end="", file=sys.stderr, flush=True)  # noqa: T201 - the command's output
