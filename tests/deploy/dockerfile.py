"""The Dockerfile of this repository, read into stages of instructions."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.defaults import ROOT

TEXT = (ROOT / "Dockerfile").read_text()


@dataclass
class Stage:
    """What follows a FROM: each instruction with its words, and the variables so far."""

    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Return the words of each such instruction."""
        return [words for each, words in self.instructions if each == name]

    def words(self, name: str) -> list[str]:
        """Return the words of the one instruction that has a list."""
        [found] = self.all(name)
        words: list[str] = json.loads(found)
        return words

    @property
    def variables(self) -> list[str]:
        """Return its environment, as a shell would be given it."""
        return [each for line in self.all("ENV") for each in line.split()]

    @property
    def health_check(self) -> list[str]:
        """Return the command of its health check."""
        [line] = self.all("HEALTHCHECK")
        words: list[str] = json.loads(line.partition("CMD ")[2])
        return words


def stages() -> list[Stage]:
    """Read the file."""
    found: list[Stage] = []
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        name, _, words = line.partition(" ")
        if name == "FROM":
            found.append(Stage())
        if line:
            found[-1].instructions.append((name, words))
    return found


def in_context(path: str) -> bool:
    """Return whether a build sees a file. The last line of `.dockerignore` that fits it decides."""
    folders = [path, *map(str, Path(path).parents)]
    seen = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and any(_fits(folder, pattern, line) for folder in folders):
            seen = line.startswith("!")
    return seen


def _fits(path: str, pattern: str, line: str) -> bool:
    return fnmatch(Path(path).name if line.startswith("**/") else path, pattern)
