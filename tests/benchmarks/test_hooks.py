"""Events survive `kill -9` of the gateway and of their receiver: a short run of `benchmarks.hooks`, as a command."""

import json

import pytest

from benchmarks.hooks import Delivered, Received
from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_each_stored_message_arrives_although_both_sides_are_killed(run_benchmark: RunBenchmark) -> None:
    sizes = ("--kills", 2, "--seconds", 10, "--clients", 3, "--rooms", 3, "--events", 50, "--seed", 7)
    counts = {
        line.split("│")[1].strip(): int(line.split("│")[2].replace(",", ""))
        for line in run_benchmark("hooks", *sizes).splitlines()
        if line.startswith("│") and line.count("│") == 3
    }
    assert counts["kills of the gateway, and as many of the receiver"] >= 1
    assert counts["events delivered"] > 0
    for name in ("lost: stored, and never delivered", "rooms out of order", "otherwise wrong"):
        assert counts[name] == 0


def received(number: int, id: str | None = None, text: str = "hello") -> Received:
    message = {"id": f"e.{number}", "room": "lobby", "text": text}
    return Received(0, id or f"msg_{number}", json.dumps({"data": {"message": message}}))


def test_it_notices_what_is_lost_and_what_was_never_stored() -> None:
    delivered = Delivered()
    delivered.compare([received(1), received(3)], {"lobby": ["e.1", "e.2"]})
    assert (delivered.counts["lost"], delivered.counts["unknown"]) == (1, 1)


def test_it_notices_another_order_another_body_and_another_id() -> None:
    delivered = Delivered()
    got = [received(2), received(1), received(1, text="other"), received(2, id="msg_9")]
    delivered.compare(got, {"lobby": ["e.1", "e.2"]})
    assert delivered.counts["disordered"] == 1
    assert delivered.counts["repeats"] == 1
    assert len(delivered.wrong) == 3
