"""A load compares the store with what was acknowledged: nothing may be missing, changed or there twice."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.story import Said, Tables
from proofs import acknowledged
from proofs.acknowledged import Acknowledged

LOG = {offset: Said("ann", f"ann-{offset}", f"message {offset}", offset) for offset in range(1, 9)}


def tables(log: dict[int, Said], top: int = 8) -> Tables:
    ids = Counter(("hall", said.sender, said.client_id or "") for said in log.values())
    return Tables({"hall": log}, ids, {"hall": top})


def faults(log: dict[int, Said], kept: int | None = None, top: int = 8) -> dict[str, int]:
    told = Acknowledged(kept)
    for offset, said in LOG.items():
        told.add("hall", offset, said)
    return dict(+told.compare(tables(log, top)).counts)


def without(*offsets: int) -> dict[int, Said]:
    return {offset: said for offset, said in LOG.items() if offset not in offsets}


def test_a_store_with_each_acknowledged_message_has_no_fault() -> None:
    assert faults(LOG) == {}


def test_a_missing_message_is_lost() -> None:
    assert faults(without(3)) == {"lost": 1}


@pytest.mark.parametrize("change", [{"sender": "bob"}, {"client_id": "other"}, {"text": "Else"}, {"deleted": True}])
def test_a_changed_message_is_lost(change: dict[str, object]) -> None:
    assert faults(LOG | {3: replace(LOG[3], **change)}) == {"lost": 1}  # type: ignore[arg-type]


def test_a_message_that_is_there_twice_is_doubled_and_unasked() -> None:
    assert faults(LOG | {9: LOG[8]}, top=9) == {"doubles": 1, "unasked": 1, "lost": 1}


def test_a_log_that_ends_too_early_is_a_loss() -> None:
    assert faults(LOG, top=7) == {"lost": 1}


def test_retention_may_remove_all_but_the_newest() -> None:
    assert faults(without(1, 2, 3), kept=5) == {}
    assert faults(without(2, 3), kept=5) == {}
    assert faults(without(1, 2, 3, 4), kept=5) == {"lost": 1}
    assert faults(LOG | {2: replace(LOG[2], text="Else")}, kept=5) == {"lost": 1}


def test_what_retention_has_long_removed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged, "UNSWEPT", 1)
    assert faults(without(1, 2, 3), kept=2) == {}
    assert faults(LOG, kept=2) == {}
    assert faults(without(7), kept=2) == {"lost": 1}
