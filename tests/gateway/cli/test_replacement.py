"""A rolling restart, step by step, with workers that a test lets start, drain and die."""

import errno
from collections.abc import Callable

import pytest

from gateway.cli import replacement as module
from gateway.cli.replacement import Replacement
from gateway.cli.worker import Worker
from gateway.cli.workers import _Received, _successor


class Process(Worker):
    """A worker without a process."""

    def __init__(self, place: int, pid: int) -> None:
        self.place = place
        self.number = pid
        self.alive = True
        self.ready = False
        self.asked = False
        self.killed = False

    pid = property(lambda self: self.number)
    is_alive = property(lambda self: self.alive)
    is_ready = property(lambda self: self.ready)
    exit_status = property(lambda self: 1)
    drain_seconds = property(lambda self: 10.0)
    leave_seconds = property(lambda self: 60.0)

    def ask_to_leave(self) -> None:
        self.asked = True

    def join(self, seconds: float) -> None:
        self.killed = self.alive
        self.alive = False


class Story:
    """Two workers, their replacement, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("gateway.cli.replacement.time.monotonic", lambda: self.now)
        self.made: list[Process] = []
        self.workers: list[Worker] = [self.start(0), self.start(1)]
        self.old = list(self.made)
        self.replacement = Replacement(self.workers, self.start)

    def start(self, place: int) -> Process:
        self.made.append(Process(place, len(self.made) + 1))
        return self.made[-1]

    def go_on(self) -> None:
        for _ in range(3):
            self.replacement.go_on()

    @property
    def serving(self) -> list[int | None]:
        return [worker.pid for worker in self.workers]

    @property
    def others(self) -> list[int | None]:
        return [worker.pid for worker in self.replacement.others]


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(monkeypatch)


@pytest.fixture
def says(caplog: pytest.LogCaptureFixture) -> Callable[[str], bool]:
    caplog.set_level("INFO")
    return lambda words: words in caplog.text


def test_nothing_happens_without_a_signal(story: Story) -> None:
    story.go_on()
    assert (story.serving, story.others) == ([1, 2], [])


def test_an_old_worker_serves_until_the_new_one_does_and_the_next_one_until_it_has_ended(
    story: Story, says: Callable[[str], bool]
) -> None:
    story.replacement.begin()
    story.go_on()
    assert (story.serving, story.others) == ([1, 2], [3])
    story.made[2].ready = True
    story.go_on()
    assert (story.serving, story.others) == ([3, 2], [1])
    assert [worker.asked for worker in story.old] == [True, False]
    assert len(story.made) == 3  # none beside the one that drains
    story.old[0].alive = False
    story.go_on()
    story.made[3].ready = True
    story.go_on()
    story.old[1].alive = False
    story.go_on()
    assert (story.serving, story.others) == ([3, 4], [])
    assert says("all workers are new: 3, 4")
    story.go_on()
    assert len(story.made) == 4


def test_a_new_worker_that_does_not_start_leaves_the_old_ones(story: Story, says: Callable[[str], bool]) -> None:
    story.replacement.begin()
    story.go_on()
    story.made[2].alive = False
    story.go_on()
    assert (story.serving, story.others, len(story.made)) == ([1, 2], [], 3)
    assert not any(worker.asked for worker in story.old)
    assert says("the new worker 3 ended with 1; the lines above say why; 0 of 2 workers are replaced")


def test_a_machine_without_room_for_a_process_leaves_the_old_ones(story: Story, says: Callable[[str], bool]) -> None:
    def start(_: int) -> Process:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    replacement = Replacement(story.workers, start)
    replacement.begin()
    replacement.go_on()
    assert (story.serving, replacement.others) == ([1, 2], [])
    assert says("no new worker can be started (Resource temporarily unavailable); 0 of 2 workers are replaced")


def test_a_dead_worker_without_a_successor_ends_no_other(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> Worker:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gateway.cli.workers.Worker", start)
    monkeypatch.setattr("gateway.cli.workers.RESTART_SECONDS", 0.0)
    dead = story.made[0]
    dead.orders = {}
    assert _successor(dead, _Received()) is dead


def test_a_new_worker_that_never_serves_is_killed(story: Story, says: Callable[[str], bool]) -> None:
    story.replacement.begin()
    story.go_on()
    story.now += module.START_SECONDS + 1
    story.go_on()
    assert story.made[2].killed
    assert (story.serving, story.others) == ([1, 2], [])
    assert says("the new worker 3 did not serve within 300 s; 0 of 2")


def test_a_new_worker_that_soon_dies_ends_the_replacement(story: Story, says: Callable[[str], bool]) -> None:
    story.replacement.begin()
    story.go_on()
    story.made[2].ready = True
    story.go_on()
    story.workers[0] = story.start(0)  # as the supervisor replaces a dead worker
    story.old[0].alive = False
    story.go_on()
    assert (story.serving, story.others) == ([4, 2], [])
    assert not story.old[1].asked
    assert says("a new worker ended soon after its start; the lines above say why; 1 of 2 workers are replaced")


def test_an_old_worker_that_does_not_end_is_killed(story: Story) -> None:
    story.replacement.begin()
    story.go_on()
    story.made[2].ready = True
    story.go_on()
    story.now += 60 + 10 + module.LAST_SECONDS + 1
    story.go_on()
    assert story.old[0].killed
    assert story.others == [4]


def test_a_signal_meanwhile_replaces_all_once_more(story: Story) -> None:
    story.replacement.begin()
    for place in (0, 1):
        story.go_on()
        story.replacement.begin()
        story.made[-1].ready = True
        story.go_on()
        story.old[place].alive = False
    story.go_on()
    story.go_on()
    assert (story.serving, story.others) == ([3, 4], [5])


def test_a_replacement_after_a_failed_one_begins_anew(story: Story) -> None:
    story.replacement.begin()
    story.go_on()
    story.made[2].alive = False
    story.go_on()
    story.replacement.begin()
    story.go_on()
    assert story.others == [4]
