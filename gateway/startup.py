"""What can go wrong before the gateway runs."""

from pathlib import Path


class StartError(Exception):
    """The gateway cannot start. The text is for the operator: what is wrong, and what to do about it."""


def make_data_dir(path: Path) -> None:
    """Make the data folder, for its owner alone, or raise `StartError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot make the data folder {path} ({error.strerror});"
            " make its parent writable, or name another with GATEWAY_DATA_DIR"
        ) from None
