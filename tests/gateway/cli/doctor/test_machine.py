"""Machines with too little of something, and clocks that are wrong."""

import os
import resource
import shutil
import time
from types import SimpleNamespace

import pytest

from gateway.cli.doctor import machine
from gateway.cli.doctor.findings import Verdict
from tests.gateway.cli.doctor.conftest import Look, bad, worst

pytestmark = pytest.mark.unit
GIGABYTE = 1024**3


@pytest.mark.parametrize(("hard", "verdict"), [(256, Verdict.PROBLEM), (4096, Verdict.WARNING)])
def test_a_process_with_few_descriptors(
    look: Look, monkeypatch: pytest.MonkeyPatch, hard: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, hard))
    found = bad(look("descriptors"))
    assert found.verdict is verdict
    assert "LimitNOFILE" in found.change


@pytest.mark.parametrize("hard", [1_048_576, resource.RLIM_INFINITY])
def test_a_process_with_many(look: Look, monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, hard))
    assert worst(look("descriptors")) is Verdict.OK


@pytest.mark.parametrize(
    ("free", "verdict"), [(10 * 1024**2, Verdict.PROBLEM), (GIGABYTE // 2, Verdict.WARNING), (9 * GIGABYTE, Verdict.OK)]
)
def test_a_disk_that_is_nearly_full(look: Look, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=20 * GIGABYTE, used=0, free=free))
    assert worst(look("disk")) is verdict


def test_a_disk_without_room_for_more_files(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=10_000, f_favail=5))
    assert "5 more files" in bad(look("disk")).found


@pytest.mark.parametrize(
    ("megabytes", "changes", "verdict"),
    [
        (128, {}, Verdict.PROBLEM),
        (230, {}, Verdict.WARNING),
        (2048, {"outbox_bytes": 64 * 1024**2}, Verdict.WARNING),
        (2048, {}, Verdict.OK),
    ],
)
def test_limits_that_do_not_fit_into_the_memory(
    look: Look, monkeypatch: pytest.MonkeyPatch, megabytes: int, changes: dict[str, int], verdict: Verdict
) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: megabytes * 1024**2)
    assert worst(look("memory", **changes)) is verdict


def test_a_clock_of_last_year(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worst(look("clock")) is Verdict.OK
    monkeypatch.setattr(machine, "time", _clock(1_700_000_000, 0))
    assert bad(look("clock")).verdict is Verdict.PROBLEM


def test_a_clock_that_is_moved_meanwhile(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "time", _clock(time.time(), 3))
    assert "moved" in bad(look("clock")).found


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [(0.2, Verdict.OK), (-0.9, Verdict.OK), (2, Verdict.WARNING), (-30, Verdict.PROBLEM), (30, Verdict.PROBLEM)],
)
def test_the_clock_of_another_machine(ahead: float, verdict: Verdict) -> None:
    found = list(machine.clock_difference(ahead, "the bus"))
    assert [each.verdict for each in found] == ([] if verdict is Verdict.OK else [verdict])
    if found:
        assert ("behind" in found[0].found) == (ahead < 0)


def _clock(wall: float, step: float) -> SimpleNamespace:
    """Return a clock that is moved by `step` between two looks."""
    walls = iter([wall, wall + step, wall + step])
    return SimpleNamespace(
        time=lambda: next(walls),
        monotonic=lambda: 1.0,
        sleep=lambda _: None,
        strftime=time.strftime,
        gmtime=time.gmtime,
    )
