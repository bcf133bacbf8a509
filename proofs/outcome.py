"""The outcome of a proof, and the file that keeps it for the page."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from proofs.bar import Bar, Proof, Report, Scale


@dataclass(frozen=True)
class Outcome:
    """What one run of a proof has found."""

    name: str
    about: str
    scale: Scale
    date: str
    machine: str
    command: str
    seconds: float
    bars: tuple[Bar, ...]

    @property
    def passed(self) -> bool:
        """Return whether all bars are passed, and there is one. In the short form, figures do not count."""
        return bool(self.bars) and all(bar.passed or self._only_shows(bar) for bar in self.bars)

    def _only_shows(self, bar: Bar) -> bool:
        return bar.is_figure and self.scale is Scale.SHORT


async def outcome_of(proof: Proof, scale: Scale, command: str) -> Outcome:
    """Run a proof. A fault of the proof itself is a bar that is missed, so that the others still run."""
    report = reporter(proof.name)
    began = time.monotonic()
    try:
        bars = await proof.prove(scale, report)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        import traceback

        traceback.print_exc()
        bars = [Bar("the proof runs to its end", "no fault", f"{type(error).__name__}: {error}"[:200], False)]
    return Outcome(
        proof.name,
        proof.about,
        scale,
        datetime.now(UTC).strftime("%Y-%m-%d"),
        machine(),
        command,
        round(time.monotonic() - began, 1),
        tuple(bars),
    )


def reporter(name: str) -> Report:
    """Return a function that prints lines about the progress of a proof, on standard error."""
    began = time.monotonic()

    def report(line: str) -> None:
        print(f"{name} {time.monotonic() - began:6.0f} s: {line}", file=sys.stderr, flush=True)

    return report


def write(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read(paths: Iterable[Path]) -> list[Outcome]:
    """Return the outcomes of some files."""
    return [_of(each) for path in paths for each in json.loads(path.read_text(encoding="utf-8"))]


def _of(values: dict[str, Any]) -> Outcome:
    bars = tuple(Bar(**bar) for bar in values.pop("bars"))
    return Outcome(**values | {"scale": Scale(values["scale"])}, bars=bars)
