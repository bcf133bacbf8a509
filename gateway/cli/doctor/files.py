"""The files of a gateway: `.env`, the data folder, and the routes file."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.doctor.findings import AS_OWNER, Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.config.env_file import ENV_FILE, names_in_file
from gateway.config.extensions import extended
from gateway.config.settings import unknown_settings
from gateway.core.start_error import StartError
from gateway.routes.file import read
from gateway.routes.surroundings import Surroundings
from handlers.registry import BUILT_IN

BACKUP_HOURS = 26
"""The age of a backup that is made once a day, and of the two hours that it may take."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def env_file(subject: Subject) -> Iterator[Finding]:
    """Check that only the gateway's user can read `.env`, and that the gateway can."""
    if not os.path.lexists(ENV_FILE):
        yield ok("there is no .env here; the settings come from the environment")
        return
    try:
        names_in_file()
        mode = ENV_FILE.stat().st_mode
    except (StartError, OSError) as error:
        yield problem(str(error), "correct .env, or chown it to the gateway's user")
        return
    if mode & stat.S_IRWXO:
        yield problem(
            f".env has the mode {stat.S_IMODE(mode):04o}, so every user can read its secrets", "chmod 600 .env"
        )
    elif mode & stat.S_IWGRP:
        yield warning(f".env has the mode {stat.S_IMODE(mode):04o}, so its group can change it", "chmod 640 .env")
    else:
        yield ok(f".env has the mode {stat.S_IMODE(mode):04o}")


def names(subject: Subject) -> Iterator[Finding]:
    """Check that each name that looks like a setting is one."""
    unknown = unknown_settings(subject.environ)
    for name, nearest in unknown.items():
        change = f"remove {name}" if nearest is None else f"{nearest}=…  # in place of {name}"
        yield warning(f"{name} is no setting, and has no effect", change)
    if not unknown:
        yield ok("each GATEWAY_ name in the environment and in .env is a setting")


def data_folder(subject: Subject) -> Iterator[Finding]:
    """Check that the data folder is the gateway's alone, and that the gateway can write to it."""
    folder = subject.settings.data_dir
    try:
        found = folder.stat()
    except FileNotFoundError:
        yield ok(f"the data folder {folder} is not there yet; the first start makes it")
        return
    except OSError as error:
        yield problem(f"the data folder {folder} cannot be looked at ({error.strerror})", "GATEWAY_DATA_DIR=…")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield problem(f"{folder} is no folder", "GATEWAY_DATA_DIR=…  # a folder of the gateway's own")
        return
    yield from _rights(folder, found)


def _rights(folder: Path, found: os.stat_result) -> Iterator[Finding]:
    user, mode = os.geteuid(), stat.S_IMODE(found.st_mode)
    if found.st_uid != user:
        how = problem if not os.access(folder, os.W_OK) else warning
        yield how(
            f"the data folder {folder} belongs to user {found.st_uid}, and this is user {user}",
            f"chown -R {user} {folder}  # or run as its owner",
        )
    if mode & _OTHERS:
        yield warning(
            f"the data folder {folder} has the mode {mode:04o}, so others can enter it", f"chmod 700 {folder}"
        )
    try:
        loose = [entry.name for entry in os.scandir(folder) if _is_open_to_all(entry)]
    except PermissionError:
        yield problem(f"this user cannot look into the data folder {folder}", AS_OWNER)
        return
    loose.sort()
    if loose:
        yield problem(
            f"every user can read {', '.join(loose[:5])} in {folder}",
            " ".join(["chmod 600", *(str(folder / name) for name in loose[:5])]),
        )
    if found.st_uid == user and not mode & _OTHERS and not loose:
        yield ok(f"the data folder {folder} is this user's alone")


def _is_open_to_all(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file() and bool(entry.stat().st_mode & stat.S_IRWXO)
    except FileNotFoundError:  # a running gateway removes some
        return False


def routes(subject: Subject) -> Iterator[Finding]:
    """Check the routes file as a start does."""
    file = subject.settings.routes
    if file is None:
        yield ok("there is no routes file")
        return
    try:
        registry = extended(BUILT_IN, subject.settings.registry)
        found = read(file, Surroundings.of(subject.settings, registry, [])).routes
    except StartError as error:
        for line in str(error).splitlines():
            yield problem(line, f"correct {file}; see: gateway routes check")
        return
    count = len(found.routes)
    yield ok(f"{file} has {count} route{'' if count == 1 else 's'} and {len(found.hooks)} hooks")
    if file.stat().st_mode & stat.S_IRWXO and any(route.signer for route in found.routes):
        yield problem(f"every user can read {file}, which has secrets", f"chmod 600 {file}")


def backup(subject: Subject) -> Iterator[Finding]:
    """Check the age of the newest backup, if the operator names it."""
    file = subject.backup
    if file is None:
        yield ok("no backup was named; --backup FILE checks the age of one")
        return
    try:
        found = file.stat()
    except OSError as error:
        yield problem(f"there is no backup {file} ({error.strerror})", f"gateway db backup {file}")
        return
    hours = (time.time() - found.st_mtime) / 3600
    if not found.st_size:
        yield problem(f"the backup {file} is empty", f"gateway db backup --replace {file}")
    elif hours > BACKUP_HOURS:
        yield warning(f"the backup {file} is {hours:.0f} hours old", f"gateway db backup --replace {file}")
    else:
        yield ok(f"the backup {file} is {hours:.0f} hours old")
