"""The error that stops a start, and checks of files and folders that raise it."""

import os
from pathlib import Path

_NEEDED = os.R_OK | os.W_OK | os.X_OK
"""The permissions that the gateway needs in a folder."""


class StartError(Exception):
    """The gateway cannot start. The text tells the operator what is wrong and what to do."""


def make_data_dir(path: Path) -> None:
    """Make the data folder, readable by its owner only, or raise `StartError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot make the data folder {path} ({error.strerror});"
            " make its parent writable, or name another with GATEWAY_DATA_DIR"
        ) from None


def check_writable(path: Path) -> None:
    """Check that a file can be written, or created if it is missing, or raise `StartError`."""
    # Not `Path.exists`: it raises in a folder without permission to look.
    place = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.exists(each))
    if not os.access(place, _NEEDED if place.is_dir() else os.R_OK | os.W_OK):
        raise StartError(
            f"cannot write {path}: {place} belongs to {_owner(place)}, and this is {_name(os.geteuid())};"
            " run as its owner, or make this user its owner with chown"
        )
    if place not in (path.absolute(), path.absolute().parent):
        raise StartError(f"cannot write {path}: there is no folder {path.parent}; make it, or name another")


def _owner(path: Path) -> str:
    return _name(path.stat().st_uid)


def _name(user_id: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(user_id).pw_name
    except (ImportError, KeyError):
        return f"user {user_id}"
