"""Writes the files of a format into a folder, for a tool that reads them there."""

from pathlib import Path

from gateway.documents.place import Files


def write(folder: Path, files: Files) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
