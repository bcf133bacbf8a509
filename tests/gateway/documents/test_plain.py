"""JSON of anything that an application has written into a schema or an example."""

import json
from datetime import date

import pytest

from gateway.documents.plain import plain, plain_json


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), None),
        ([float("inf"), 1.5], [None, 1.5]),
        ({1: (True, None)}, {"1": [True, None]}),
        (date(2026, 11, 30), "2026-11-30"),
        ("\ud800", "?"),
        ("😈", "😈"),
        (2**70, 2**70),
    ],
)
def test_a_value_becomes_json(value: object, found: object) -> None:
    assert plain(value) == found
    assert json.loads(plain_json(value)) == found
