"""The output of a command that writes much: standard output, or a file that gets its name once it is complete."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.core.start_error import StartError, check_writable

Write = Callable[[bytes], object]

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to write it; without this, to standard output."),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace a file that exists.")]


@contextmanager
def output(file: Path | None, *, replace: bool) -> Iterator[Write]:
    """Yield a function that writes bytes. A file is only its owner's, and does not exist if the context fails."""
    try:
        if file is None:
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
            return
        _check(file, replace=replace)
        with _draft_of(file) as draft:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                yield opened.write
                opened.flush()
                os.fsync(opened.fileno())
            _name(draft, file, replace=replace)
    except BrokenPipeError:
        # The reader has enough. Python would complain at its end about what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        raise StartError(f"cannot write {file or 'standard output'}: {error.strerror}") from None


def _check(file: Path, *, replace: bool) -> None:
    if file.exists() and not file.is_file():
        raise StartError(f"{file} is no file; name another one")
    if file.exists() and not replace:
        raise _exists(file)
    check_writable(file)


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _name(draft: Path, file: Path, *, replace: bool) -> None:
    if replace or not _is_linked(draft, file):
        draft.replace(file)


def _is_linked(draft: Path, file: Path) -> bool:
    """Let the file be the draft, and return whether the file system can do that: FAT, for example, has no links."""
    try:
        os.link(draft, file)
    except OSError as error:
        if isinstance(error, FileExistsError) or file.exists():
            raise _exists(file) from None
        return False
    return True


def _exists(file: Path) -> StartError:
    return StartError(f"{file} exists already; name another file, or add --replace")
