"""What is acknowledged survives `kill -9`: a short run of `benchmarks.crash`, as a command."""

from collections import Counter

import pytest

from benchmarks.story import Growth, Said, Story, Wish, compare
from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("window", "seed"), [(0, 5), (3, 10)])  # seeds with a life of about a second
def test_no_acknowledged_message_is_lost_when_the_gateway_is_killed_under_load(
    run_benchmark: RunBenchmark, window: int, seed: int
) -> None:
    sizes = ("--kills", 2, "--seconds", 12, "--clients", 4, "--rooms", 2, "--seed", seed, "--window", window)
    counts = {
        line.split("│")[1].strip(): int(line.split("│")[2].replace(",", ""))
        for line in run_benchmark("crash", *sizes).splitlines()
        if line.startswith("│")
    }
    assert counts["kills"] >= 1
    assert counts["sends acknowledged"] > 0
    assert counts["pieces acknowledged"] > 0 or counts["sends acknowledged"] < 50, "a busy machine has short lives"
    assert counts["asked again after a kill"] > 0
    for name in ("lost: acknowledged, and gone or different", "holes: offsets that no change has taken"):
        assert counts[name] == 0


def story_of(**log: Said) -> Story:
    return Story(logs={"room": {int(offset[1:]): said for offset, said in log.items()}}, taken={"room": Counter()})


@pytest.mark.parametrize("found", [{}, {1: Said("bob", "c1", "other", 1)}, {2: Said("bob", "c1", "hello", 2)}])
def test_it_notices_what_is_gone_or_different(found: dict[int, Said]) -> None:
    story = story_of(o1=Said("bob", "c1", "hello", 1))
    compare(story, "room", story.logs["room"], found)
    assert story.counts["lost"] == 1
    assert story.counts["unasked"] == len(found.keys() - {1})
    assert story.wrong


def test_it_notices_holes_and_offsets_that_are_taken_twice() -> None:
    story = story_of()
    for offset in (1, 3, 3):
        story.note("bob", Wish("chat.send", "room", "hello"), message(offset))
    story.count_offsets("room", 4)
    assert (story.counts["holes"], story.counts["doubles"]) == (2, 1)
    assert "ends at 4" in story.wrong[-1]


def test_it_notices_an_answer_to_something_else() -> None:
    story = story_of()
    story.note("bob", Wish("chat.send", "room", "hello"), message(1) | {"text": "good-bye"})
    assert story.wrong


def message(offset: int) -> dict[str, object]:
    return {"sender": "bob", "text": "hello", "offset": offset, "changed": offset}


def test_it_counts_the_pieces_of_one_change_once_and_knows_the_text() -> None:
    story, pieces = story_of(o1=Said("bob", "c1", "a", 1)), ["b", "c", "d"]
    growth = Growth("chat.append", "room", "a", message_id="e.1", pieces=pieces)
    for count, changed in enumerate((2, 2, 3), 1):
        story.note_pieces(growth, count, {changed})
    assert story.logs["room"][1] == Said("bob", "c1", "abcd", 3)
    assert (story.taken["room"], story.counts["chat.append"]) == (Counter({2: 1, 3: 1}), 3)


@pytest.mark.parametrize(
    ("found", "lost"), [(Said("bob", "c1", "hello", 5), 0), (Said("bob", "c1", "other", 5), 1), (None, 1)]
)
def test_the_late_first_try_of_an_edit_may_change_the_same_message_once_more(found: Said | None, lost: int) -> None:
    story = story_of(o1=Said("bob", "c1", "hello", 3))
    story.late.add(("room", 1))
    compare(story, "room", story.logs["room"], {} if found is None else {1: found})
    assert story.counts["lost"] == lost
