"""Errors cross processes, as those of a worker do."""

import copy
import pickle

import pytest

from gateway_client import GatewayError, Lost, Overflowed, Reconnect, Refused
from gateway_client.errors import FieldProblem


@pytest.mark.parametrize(
    "error",
    [
        Refused(42200, "validation_failed", "wrong", details=[FieldProblem("data.text", "expected a text")]),
        Lost("cut off", Reconnect.NEVER, code=4403, reason="disconnected", final=True),
        Overflowed("too slow"),
    ],
)
def test_an_error_can_be_copied_and_pickled(error: GatewayError) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_a_refusal_names_its_fields() -> None:
    refused = Refused(42200, "validation_failed", "wrong", details=[FieldProblem("data.text", "expected a text")])
    assert str(refused) == "wrong (data.text: expected a text)"
    assert str(Refused(40300, "forbidden", "no")) == "no"
