"""The proof of faults: what it breaks is really broken, and a bar is missed where the gateway does not hold."""

import asyncio
import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from benchmarks import rig
from benchmarks.rig import Asker, Frame, Lives, Person, Server
from benchmarks.story import read_log
from proofs import faults
from proofs.bar import Scale
from proofs.faults import bars_of, clocks, disks, kills, sentinels
from proofs.faults.crowd import Crowd
from proofs.faults.fault import Fault, Place
from proofs.faults.member import Connection, Member
from proofs.faults.site import Node, Site
from proofs.faults.table import LANES
from proofs.faults.trial import Trial
from proofs.view import Sightings
from tests.support.lacking import Unavailable, lacking
from tests.support.network import Machine, running_network
from tests.support.waiting import until

pytestmark = pytest.mark.server

PING = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(0.3)
    for _ in range(3):
        try:
            sock.sendto(b"x", (sys.argv[1], 5000))
            sys.exit(sock.recv(10) != b"x")
        except OSError:
            pass
sys.exit(1)
"""
ANSWER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((sys.argv[1], 5000))
    print("listens", flush=True)
    while True:
        sock.sendto(*sock.recvfrom(10))
"""
WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
try:
    os.pwrite(file, b"12345678", 0)
    os.fdatasync(file)
except OSError as error:
    sys.exit(error.errno)
"""


def trial(back: float | None = 1.0) -> Trial:
    crowd = Crowd([], [], ["lobby"], 7)
    return Trial("a fault", 5.0, crowd, back, during=3)


def test_a_gateway_that_holds_passes_its_bar() -> None:
    assert trial().bar().passed


@pytest.mark.parametrize("back", [None, 5.1])
def test_a_gateway_that_comes_back_late_or_never_misses_it(back: float | None) -> None:
    assert not trial(back).bar().passed


def test_a_gateway_whose_other_nodes_are_held_up_misses_it() -> None:
    found = trial()
    found.silence, found.most_silence = 5.0, 4.0
    assert not found.bar().passed


def test_a_fault_that_did_not_take_hold_misses_it() -> None:
    found = trial()
    found.doubt = "no call of the gateway has failed"
    assert not found.bar().passed
    assert not found.bar().is_figure
    assert found.doubt in found.bar().found


@pytest.mark.parametrize(("most", "passed"), [(2, False), (3, True)])
def test_a_fault_that_refuses_everything_may_let_through_what_was_on_the_way(most: int, passed: bool) -> None:
    found = trial()
    found.most_during = most
    assert found.bar().passed is passed


def test_a_fault_that_cuts_clients_needs_one_that_resumes() -> None:
    found = trial()
    found.must_resume = True
    assert not found.bar().passed
    found.crowd.sightings.counts["recovered"] = 1
    assert found.bar().passed


def test_each_fault_shows_that_it_took_hold() -> None:
    # The others raise an exception: kills, a cut of the power.
    raises = {"kills-alone", "kills-two-nodes", "power-cuts"}
    for place in (place for lane in LANES for place in lane):
        for fault in place.faults:
            is_shown = fault.most is not None or fault.doubt is not Fault("", "").doubt
            assert is_shown or fault.name in raises, fault.name


class Unstable(Lives):
    """Lives that end at their start twice."""

    def __init__(self) -> None:
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1

    async def end(self) -> int:
        return 1

    def goes_on(self) -> bool:
        return self.starts > 2


class Starting(Server):
    """A server whose start depends on its life alone."""

    async def answers(self, lives: Callable[[], bool]) -> None:
        if not lives():
            raise RuntimeError("it did not start")


def has_ended(lives: Lives) -> bool:
    try:
        return not lives.goes_on()
    except FileNotFoundError:
        return True


def test_each_kill_is_a_fault_of_its_own_and_a_fault_that_lasts_is_one() -> None:
    assert [fault.times(Scale.FULL) for fault in kills.ALONE.faults] == [kills.FULL]
    assert [fault.times(Scale.SHORT) for fault in kills.ALONE.faults] == [kills.SHORT]
    assert [fault.times(Scale.FULL) for fault in sentinels.PLACE.faults] == [1] * 3


async def test_no_life_outlives_a_launcher_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "STOP_SECONDS", 0.5)
    async with Lives(Server(tmp_path, None)) as lives:
        await lives.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await lives.end()
    await until(lambda: has_ended(lives))  # a busy machine takes a moment to end a process that is killed


class Refusing(Asker):
    """A connection to a gateway that is not able to answer at first."""

    def __init__(self, *answers: Frame) -> None:
        super().__init__()
        self._next = iter(answers)

    async def ask(self, type: str, **data: object) -> Frame:
        return next(self._next)


NOT_ABLE = {"type": "error", "status": 50300, "name": "unavailable", "message": "the store is busy", "retryable": True}


async def test_a_log_is_read_again_while_the_gateway_is_not_able_to() -> None:
    page = {"type": "reply", "data": {"messages": [], "has_more": False}}
    assert await read_log(Refusing(NOT_ABLE, page), "lobby") == {}


async def test_a_log_that_is_refused_for_good_breaks_the_proof() -> None:
    with pytest.raises(RuntimeError, match="is refused"):
        await read_log(Refusing(NOT_ABLE | {"retryable": False}), "lobby")


class Talking(Member):
    """A user whose connection is there at once."""

    async def _come(self, connection: Connection, sightings: Sightings) -> None:
        self.connection = connection

    async def _speak(self, connection: Connection, hushed: asyncio.Event) -> None:
        await asyncio.sleep(60)

    async def _watch(self, connection: Connection, sightings: Sightings, over: asyncio.Event) -> None:
        await asyncio.sleep(60)


async def test_a_crowd_hangs_up_at_its_end() -> None:
    crowd = Crowd([], [], ["lobby"], 7)
    person = Person("talker")
    talking = Talking(person, [], {}, crowd.story, random.Random(7), 0.1)
    crowd.members.append(talking)
    async with crowd:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert talking.connection.is_over


async def test_starts_that_are_repeated_are_counted(tmp_path: Path) -> None:
    node = Node(Starting(tmp_path, None), Unstable())
    await node.start()
    assert node.repeated_starts == 2


@pytest.mark.parametrize("kind", ["lost", "holes", "doubles", "unasked"])
def test_each_count_of_the_story_misses_it(kind: str) -> None:
    found = trial()
    found.crowd.story.counts[kind] = 1
    assert not found.bar().passed


@pytest.mark.parametrize("kind", ["missed", "behind", "different", "doubled", "disorder"])
def test_each_count_of_the_views_misses_it(kind: str) -> None:
    found = trial()
    found.crowd.sightings.counts[kind] = 1
    assert not found.bar().passed


def test_the_same_name_is_not_twice_in_the_table() -> None:
    names = [fault.name for lane in LANES for place in lane for fault in place.faults]
    assert len(names) == len(set(names)) >= 30


@pytest.mark.parametrize(
    ("ci", "scale", "passed"), [("", Scale.SHORT, True), ("1", Scale.SHORT, False), ("", Scale.FULL, False)]
)
async def test_what_a_machine_lacks_is_said_and_fails_in_ci_and_in_full(
    ci: str, scale: Scale, passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(_: object) -> Site:
        raise Unavailable("needs a moon")

    monkeypatch.setenv("CI", ci)
    place: Place[Site] = Place("moon", unable, [])  # type: ignore[arg-type] # it never gets that far
    said: list[str] = []
    [bar] = await bars_of(place, scale, 7, said.append)
    assert (bar.passed, "needs a moon" in bar.found) == (passed, True)
    assert said


async def test_a_trial_that_has_ended_counts_although_the_next_one_lacks_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[Site]:
        yield Site([], "", [], Person("prober"))

    async def tried(_site: Site, fault: Fault[Site], *_: object) -> Trial:
        if fault.name == "second":
            raise Unavailable("the command failed")
        found = trial()
        found.crowd.story.counts["lost"] = 1
        return found

    monkeypatch.setattr(faults, "tried", tried)
    place = Place("moon", opened, [Fault("first", "a dent"), Fault("second", "a crater")])
    lost, broken = await bars_of(place, Scale.SHORT, 7, lambda _: None)
    assert "1 lost" in lost.found
    assert not lost.passed
    assert (broken.passed, broken.found) == (False, "Unavailable: the command failed")


async def test_a_place_that_breaks_the_proof_is_a_missed_bar() -> None:
    def broken(_: object) -> Site:
        raise ValueError("no sun")

    place: Place[Site] = Place("sun", broken, [])  # type: ignore[arg-type] # it never gets that far
    said: list[str] = []
    [bar] = await bars_of(place, Scale.SHORT, 7, said.append)
    assert (bar.passed, bar.found) == (False, "ValueError: no sun")
    assert "seed 7" in said[0]


@contextmanager
def answering(machine: Machine) -> Iterator[None]:
    """Answer packets on a machine."""
    command = [*machine.enter, sys.executable, "-c", ANSWER, machine.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listens\n"
        try:
            yield
        finally:
            process.kill()


def test_a_cut_drops_packets_in_one_direction_until_it_is_mended() -> None:
    try:
        with running_network() as network:
            one, other = network.machine(), network.machine()

            def is_answered() -> bool:
                ping = [*one.enter, sys.executable, "-c", PING, other.address]
                return subprocess.run(ping, timeout=20, check=False).returncode == 0

            with answering(other):
                assert is_answered()
                breaks: list[Callable[[], None]] = [
                    partial(network.cut, one, other),
                    partial(network.cut, other, one),
                    partial(network.unplug, other),
                ]
                for broken in breaks:
                    broken()
                    assert not is_answered()
                    network.mend()
                    assert is_answered()
    except Unavailable as missing:
        lacking(str(missing))


def test_a_faulty_disk_fails_the_calls_that_its_switch_says_in_its_folder_only(tmp_path: Path) -> None:
    try:
        library = disks.compiled(tmp_path)
    except Unavailable as missing:
        lacking(str(missing))
    switch, folder = tmp_path / "switch", tmp_path / "disk"
    folder.mkdir()
    variables = {"LD_PRELOAD": str(library), "FAULTY_DISK": f"{folder}/", "FAULTY_DISK_SWITCH": str(switch)}

    def written(file: Path, *, write: int = 0, sync: int = 0, of_1000: int = disks.ALWAYS) -> int:
        switch.write_bytes(disks.SWITCH.pack(0, write, sync, 0, of_1000, 0))
        command = [sys.executable, "-c", WRITE, str(file)]
        return subprocess.run(command, env=os.environ | variables, timeout=20, check=False).returncode

    def counted() -> int:
        return int(disks.SWITCH.unpack(switch.read_bytes())[-1])

    assert written(folder / "a") == 0
    assert counted() == 0
    assert written(folder / "b", write=errno.EROFS) == errno.EROFS
    assert counted() == 1
    assert (folder / "b").read_bytes() == b"1234"
    assert written(folder / "c", sync=errno.EIO) == errno.EIO
    assert written(folder / "d", write=errno.EIO, of_1000=0) == 0
    assert written(tmp_path / "elsewhere", write=errno.EIO) == 0


def test_a_crooked_clock_shows_the_time_of_its_file_and_durations_stay_right(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    try:
        variables = clocks.crooked(clock)
    except Unavailable as missing:
        lacking(str(missing))
    clock.write_text("-30s\n")
    command = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, timeout=20, check=True)
    wall, steady = map(float, done.stdout.split())
    assert wall == pytest.approx(time.time() - 30, abs=10)
    assert steady == pytest.approx(time.monotonic(), abs=10)
