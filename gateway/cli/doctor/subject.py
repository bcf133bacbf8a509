"""What the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.settings import Settings


@dataclass(frozen=True)
class Subject:
    """A gateway as its settings describe it, with what only the operator knows."""

    settings: Settings
    environ: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    """The address that `gateway serve` listens on."""
    url: str | None = None
    """The public address of the running gateway, to ask it through its proxy."""
    backup: Path | None = None
    """The newest backup."""
