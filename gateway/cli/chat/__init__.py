"""`gateway chat`: a client for the terminal and for pipes.

account           the user: registers and logs in
conversation      one room, over any number of connections: `gateway_client` makes and keeps them
calls             messages of any type: their chunks, and how Ctrl-C cancels them
growing_messages  messages that grow
passing           signals and custom states
wording           frames as lines to read
commands          what a line that begins with a slash means
screen            what a conversation needs for its input and output
growing           a text that comes in pieces, as lines
terminal          a screen with a line to type on
pipe              lines of standard input, and lines of standard output
"""

import asyncio
import getpass
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.chat.account import Account, NotNow
from gateway.cli.chat.conversation import Conversation
from gateway.cli.chat.pipe import Pipe
from gateway.cli.chat.screen import Screen
from gateway.cli.gateway_address import gateway_at
from gateway.core.start_error import StartError

PASSWORD_VARIABLE = "GATEWAY_CHAT_PASSWORD"  # noqa: S105 - a name
LAST_ON_A_TERMINAL = 20


def chat(
    user: Annotated[str, typer.Option(help="Your user name.")],
    url: Annotated[
        str, typer.Argument(help="The gateway's URL: ws://, wss://, http:// or https://, with its root path if any.")
    ] = "ws://127.0.0.1:8000",
    room: Annotated[str, typer.Option(help="The room to join.")] = "lobby",
    register: Annotated[bool, typer.Option("--register", help="Register first, unless the name is taken.")] = False,
    password_file: Annotated[
        Path | None, typer.Option(help=f"A file with the password on its first line. Or set {PASSWORD_VARIABLE}.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=0, max=50, help="How many old messages to show; by default 20, and none if input is piped."),
    ] = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Let a piped line that begins with a slash be a command, as typed ones.")
    ] = False,
) -> None:
    """Chat in a room, live on a terminal or line by line through a pipe.

    The command asks for the password, or reads it from a file or a variable. Ctrl-D or /quit leaves. A line such as
    /call echo {"say": "hello"} sends a message of any type, and shows each chunk of its answer as it comes. Ctrl-C
    cancels it.
    """
    place = gateway_at(url)
    account = Account(place, user, find_password(password_file))
    try:
        with _without_log():
            failed = asyncio.run(converse(account, room, register=register, last=last, commands=commands))
    except NotNow as unreachable:
        raise StartError(str(unreachable)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    except OSError as error:
        # Otherwise Python would fail again when it flushes its buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(1) from None  # the reader of the output has closed it
        raise StartError(f"cannot write the output ({error.strerror})") from None
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep the client's log from the terminal: the conversation says in its own words what the user should know."""
    log = logging.getLogger("gateway_client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


async def converse(account: Account, room: str, *, register: bool, last: int | None, commands: bool) -> bool:
    """Talk until the input ends or the user leaves. Return whether a script must learn that a line failed."""
    with suppress(NotImplementedError):  # Windows
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with account:
        if register:
            await account.register()
        await account.log_in()
        with open_screen(commands=commands) as screen:
            default = LAST_ON_A_TERMINAL if screen.live else 0
            conversation = Conversation(account, room, screen, last=default if last is None else last)
            try:
                await conversation.run()
            except BrokenPipeError:
                raise
            except BaseException as error:
                conversation.report_unsent()
                # Many people leave a terminal with Ctrl-C. In a pipe, it interrupts the work.
                if not (screen.live and isinstance(error, asyncio.CancelledError)):
                    raise
            # A person has seen what was not sent. A script has only the exit status.
            return conversation.failed and not screen.live


def open_screen(*, commands: bool) -> AbstractContextManager[Screen]:
    """Return a live screen if standard input and output are a terminal, and otherwise a pipe."""
    if os.name == "posix" and sys.stdin.isatty() and sys.stdout.isatty():
        from gateway.cli.chat.terminal import Terminal  # here, as termios is not everywhere

        return Terminal()
    return Pipe(commands=commands)


def find_password(file: Path | None) -> str:
    """Return the password from the file, the variable or a prompt, in this order. It is never an argument."""
    if file is not None:
        return _first_line(file)
    if password := os.environ.get(PASSWORD_VARIABLE):
        return password
    if not _has_terminal():
        raise StartError(
            f"there is no terminal to ask for the password on; use --password-file FILE or set {PASSWORD_VARIABLE}"
        )
    try:
        return getpass.getpass("Password: ")
    except (EOFError, KeyboardInterrupt):
        raise StartError("no password given") from None


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise StartError(f"cannot read the password file {file} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise StartError(f"cannot read the password file {file} (it is not UTF-8)") from None


def _has_terminal() -> bool:
    # Without a terminal, getpass would read the first line of standard input as the password.
    if os.name != "posix":
        return sys.stdin.isatty()
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True
