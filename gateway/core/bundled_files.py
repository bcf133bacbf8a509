"""Files of this project that come with the gateway without being part of its package: samples, and the clients."""

from importlib.resources import files
from pathlib import Path


def bundled_file(path: str) -> Path:
    """Return where such a file is: in the wheel, or among the sources of an editable installation."""
    package = Path(str(files("gateway")))
    for folder in (package / "samples", package.parent):
        if (found := folder / path).is_file():
            return found
    raise AssertionError(f"{path} is missing from this installation")
