"""The folder of an export. It remembers what was written there, so that nothing else is overwritten or removed."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from gateway.core.start_error import StartError
from gateway.documents.place import Files

MEMORY = ".gateway-export.json"
"""The file with the hash of each file that was written, by format."""


class ExportFolder:
    """A folder for the files of exports."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory = path / MEMORY
        self._known: dict[str, dict[str, str]] = self._read()

    def write(self, format: str, files: Files, *, force: bool = False) -> Iterator[Path]:
        """Write the files of a format, and yield the path of each. Remove what an earlier export has left over.

        Without `force`, raise `StartError` before the first change if a file is not what an export wrote.
        """
        targets = {name: self._inside(name) for name in files}
        if not force:
            self._check(targets, files)
        old = self._known.get(format, {})
        for name in old.keys() - files.keys():
            self._remove(name, old[name])
        for name, path in targets.items():
            self._write(path, files[name])
            yield path
        self._known[format] = {name: _hash(text.encode()) for name, text in files.items()}
        self._write(self._memory, json.dumps(self._known, indent=2, sort_keys=True) + "\n")

    def _inside(self, name: str) -> Path:
        path = self._path / name
        if not path.resolve().is_relative_to(self._path.resolve()):
            raise StartError(
                f"{path} leads out of {self._path}; remove that link, or name another folder with --output"
            )
        return path

    def _check(self, targets: dict[str, Path], files: Files) -> None:
        written = {name: digest for known in self._known.values() for name, digest in known.items()}
        for name, path in targets.items():
            # Without the memory, as in a clone of a repository, a file may already be what it is to become.
            ours = {written.get(name), _hash(files[name].encode())}
            if path.exists() and not (path.is_file() and _hash(path.read_bytes()) in ours):
                was = "was changed since" if name in written else "is no file of an export"
                raise StartError(f"{path} {was}; move it, name another folder with --output, or overwrite with --force")

    def _remove(self, name: str, digest: str) -> None:
        try:
            path = self._inside(name)
            if _hash(path.read_bytes()) == digest:
                path.unlink()
                self._remove_empty(path.parent)
        except (OSError, ValueError, StartError):
            return  # it is gone, or is none of ours any more

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._path and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        except OSError as error:
            raise StartError(f"cannot write {path} ({error.strerror})") from None

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self._memory.read_bytes())
            return {str(name): dict(files) for name, files in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # without it, each file counts as one of the user's


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
