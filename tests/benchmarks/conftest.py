"""A quick way to run a benchmark."""

import runpy
import sys
from typing import Protocol

import pytest

from benchmarks import rig
from tests.support.forked import Forked


class RunBenchmark(Protocol):
    """Run `python -m benchmarks.…` in the test's own process: a new one spends two seconds on imports."""

    def __call__(self, name: str, *arguments: object) -> str: ...


@pytest.fixture
def run_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> RunBenchmark:
    """Expect that a benchmark succeeds, and return what it prints."""

    def run(name: str, *arguments: object) -> str:
        module = f"benchmarks.{name}"
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [name, *map(str, arguments)])
            patch.setattr(rig, "started", Forked)
            patch.delitem(sys.modules, module, raising=False)  # Python warns of a module that runs a second time
            with pytest.raises(SystemExit) as end:
                runpy.run_module(module, run_name="__main__")
        printed = capsys.readouterr()
        assert not end.value.code, printed
        assert "Traceback" not in printed.err + caplog.text
        return printed.out

    return run
