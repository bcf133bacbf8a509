"""Every proof of the table is there, under its own name."""

import pytest

from proofs.table import PROOFS, SIDE_BY_SIDE, proof


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_is_where_the_table_says(name: str) -> None:
    found = proof(name)
    assert found.name == name


def test_only_proofs_of_the_table_run_side_by_side() -> None:
    assert PROOFS.keys() >= SIDE_BY_SIDE
