"""The subscribers of a room: each gets the events of its time, in order, and none holds up the others."""

import asyncio

import pytest

from gateway.bus.base import Logged, OwnForm, ToRoom
from gateway.connections.fanout import CHUNK, Fanout
from gateway.core import faults
from gateway.transport.frames import Frame, text_frame
from tests.support.waiting import until


class Ear:
    """A connection that keeps what it receives."""

    def __init__(self, user_id: str = "somebody") -> None:
        self.user_id = user_id
        self.heard: list[bytes] = []
        self.writes = 0
        self.faults = 0
        """How many frames it raises for before it accepts one."""
        self.is_cut_off = False

    def abort(self) -> None:
        self.is_cut_off = True

    def deliver(self, frame: Frame) -> None:
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a listener's fault")
        self.writes += 1
        self.heard += frame.texts


def nobody(_: str) -> tuple[Ear, ...]:
    return ()


def event(text: bytes) -> ToRoom:
    return ToRoom(text_frame(text), "lobby")


def a_crowd() -> tuple[Fanout, list[Ear]]:
    """Make a room that receives four groups of events."""
    audience, crowd = Fanout(nobody), [Ear() for _ in range(4 * CHUNK)]
    for ear in crowd:
        audience.add(ear)
    return audience, crowd


class LoopTime:
    """The time of the event loop, which stands still."""

    def __init__(self, now: float) -> None:
        self.now = now


@pytest.fixture
async def loop_time(monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    loop = asyncio.get_running_loop()
    time = LoopTime(loop.time())
    monkeypatch.setattr(loop, "time", lambda: time.now)
    return time


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_comes_hears_what_happens_from_then_on_and_nothing_from_before() -> None:
    audience, first, second = Fanout(nobody), Ear(), Ear()
    audience.add(first)
    audience.publish(event(b"one"))
    audience.add(second)
    audience.publish(event(b"two"))
    await turns(2)
    audience.publish(event(b"three"))
    await turns(2)
    assert (first.heard, second.heard) == ([b"one", b"two", b"three"], [b"two", b"three"])


async def test_whoever_goes_has_heard_what_happened_before_and_hears_no_more() -> None:
    audience, staying, leaving = Fanout(nobody), Ear(), Ear()
    for ear in (staying, leaving):
        audience.add(ear)
    audience.publish(event(b"one"))
    audience.remove(leaving)
    audience.publish(event(b"two"))
    await turns(2)
    assert (staying.heard, leaving.heard) == ([b"one", b"two"], [b"one"])


async def test_whoever_leaves_a_crowd_has_heard_all_and_does_not_hold_the_loop_up() -> None:
    audience, crowd = a_crowd()
    audience.publish(event(b"one"))
    await turns(1)
    audience.publish(event(b"two"))
    early = next(ear for ear in crowd if ear.heard)
    late = next(ear for ear in crowd if not ear.heard)
    given = sum(len(ear.heard) for ear in crowd)
    for leaving in (early, late):
        audience.remove(leaving)
        assert leaving.heard == [b"one", b"two"]
    assert sum(len(ear.heard) for ear in crowd) == given + 3
    audience.publish(event(b"three"))
    staying = [ear for ear in crowd if ear not in {early, late}]
    await until(lambda: all(ear.heard == [b"one", b"two", b"three"] for ear in staying))
    assert (early.heard, late.heard) == ([b"one", b"two"], [b"one", b"two"])


async def test_whoever_leaves_and_comes_back_in_one_turn_hears_each_once() -> None:
    audience, ear = Fanout(nobody), Ear()
    audience.add(ear)
    audience.publish(event(b"one"))
    audience.remove(ear)
    audience.publish(event(b"while nobody is there"))
    audience.add(ear)
    audience.publish(event(b"two"))
    await turns(3)
    assert ear.heard == [b"one", b"two"]


async def test_whoever_joins_a_crowd_does_not_hold_the_loop_up() -> None:
    (audience, crowd), newcomer = a_crowd(), Ear()
    audience.publish(event(b"one"))
    await turns(2)
    given = sum(len(ear.heard) for ear in crowd)
    assert given < len(crowd)
    audience.publish(event(b"two"))
    audience.add(newcomer)
    assert sum(len(ear.heard) for ear in crowd) == given
    audience.publish(event(b"three"))
    await until(lambda: all(ear.heard == [b"one", b"two", b"three"] for ear in crowd) and newcomer.heard != [])
    assert newcomer.heard == [b"three"]


async def test_what_happens_in_a_crowd_while_it_is_given_another_shares_a_write(loop_time: LoopTime) -> None:
    audience, crowd = a_crowd()
    audience.publish(event(b"one"))
    await turns(2)
    loop_time.now += 0.01
    audience.publish(event(b"two"))
    await turns(4)
    audience.publish(event(b"three"))
    assert all(ear.heard == [b"one"] for ear in crowd)
    loop_time.now += 0.011
    await turns(6)
    assert all((ear.heard, ear.writes) == ([b"one", b"two", b"three"], 2) for ear in crowd)


async def test_a_lone_message_does_not_wait_also_after_another(loop_time: LoopTime) -> None:
    audience, crowd = a_crowd()
    audience.publish(event(b"one"))
    await turns(2)
    loop_time.now += 0.01
    await turns(4)
    audience.publish(event(b"two"))
    await turns(6)
    assert all((ear.heard, ear.writes) == ([b"one", b"two"], 2) for ear in crowd)


async def test_in_a_crowd_some_are_given_their_own_form_or_nothing_and_all_others_the_same() -> None:
    crowd = [Ear(f"user-{number % 100}") for number in range(4 * CHUNK)]
    audience = Fanout(lambda user: [ear for ear in crowd if ear.user_id == user])
    elsewhere, crowd[0] = crowd[0], Ear("user-1")
    for ear in crowd:
        audience.add(ear)
    own = Logged(text_frame(b"hi"), "lobby", "e", 1, OwnForm("user-1", text_frame(b"own hi")))
    audience.publish(own)
    audience.publish(ToRoom(text_frame(b"typing"), "lobby", skip_user="user-2"))
    audience.publish(event(b"all"))
    heard = {"user-1": [b"own hi", b"typing", b"all"], "user-2": [b"hi", b"all"]}
    expected = [heard.get(ear.user_id, [b"hi", b"typing", b"all"]) for ear in crowd]
    await until(lambda: [ear.heard for ear in crowd] == expected)
    audience.remove(crowd[1])
    audience.publish(event(b"later"))
    await until(lambda: all(ear.heard[-1] == b"later" for ear in crowd if ear is not crowd[1]))
    assert len(audience) == len(crowd) - 1
    assert (crowd[1].heard, elsewhere.heard) == (heard["user-1"], [])


@pytest.mark.parametrize("size", [3, CHUNK, 4 * CHUNK + 1])
@pytest.mark.parametrize("faulty_ones", ["first", "last", "all but one"])
@pytest.mark.usefixtures("fresh_faults")
async def test_of_a_listener_that_raises_once_the_others_and_a_newcomer_hear_all_that_follows(
    size: int, faulty_ones: str, caplog: pytest.LogCaptureFixture
) -> None:
    audience, crowd = Fanout(nobody), [Ear() for _ in range(size)]
    for ear in crowd:
        audience.add(ear)
    chosen = {"first": crowd[:1], "last": crowd[-1:], "all but one": crowd[1:]}[faulty_ones]
    for ear in chosen:
        ear.faults = 1
    audience.publish(event(b"one"))
    others = [ear for ear in crowd if ear not in chosen]
    await until(lambda: all(ear.heard == [b"one"] for ear in others) and all(ear.is_cut_off for ear in chosen))
    newcomer = Ear()
    audience.add(newcomer)
    audience.publish(event(b"two"))
    await until(lambda: newcomer.heard == [b"two"] and all(ear.heard == [b"one", b"two"] for ear in others))
    assert not any(ear.is_cut_off for ear in (*others, newcomer))
    assert faults.counters == {"deliveries": len(chosen)}
    assert caplog.text.count("a fault was contained") == min(len(chosen), faults.LINES_A_MINUTE)


@pytest.mark.usefixtures("fresh_faults")
async def test_a_listener_that_raises_what_is_for_it_alone_or_while_it_leaves_harms_no_other() -> None:
    crowd = [Ear(f"user-{number}") for number in range(4)]
    audience = Fanout(lambda user: [ear for ear in crowd if ear.user_id == user])
    for ear in crowd:
        audience.add(ear)
    crowd[0].faults = crowd[1].faults = 1
    own = Logged(text_frame(b"hi"), "lobby", "e", 1, OwnForm("user-0", text_frame(b"own hi")))
    audience.publish(own)
    audience.remove(crowd[1])
    audience.publish(event(b"all"))
    await until(lambda: all(ear.heard == [b"hi", b"all"] for ear in crowd[2:]))
    assert [ear.is_cut_off for ear in crowd] == [True, True, False, False]
    assert faults.counters == {"deliveries": 2}


@pytest.mark.usefixtures("fresh_faults")
async def test_a_listener_that_cannot_even_be_cut_off_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    audience, crowd = a_crowd()

    def fail() -> None:
        raise OSError("cannot be cut off")

    monkeypatch.setattr(crowd[5], "abort", fail)
    crowd[5].faults = 1
    for text in (b"one", b"two"):
        audience.publish(event(text))
    await until(lambda: all(ear.heard == [b"one", b"two"] for ear in crowd if ear is not crowd[5]))
    audience.publish(event(b"three"))
    await until(lambda: all(ear.heard[-1] == b"three" for ear in crowd))
    assert faults.counters == {"deliveries": 2}


async def test_users_of_whom_the_events_of_one_turn_are_get_all_others_in_one_write() -> None:
    users = [Ear(f"user-{number}") for number in range(3)]
    audience = Fanout(lambda user_id: [each for each in users if each.user_id == user_id])
    for each in users:
        audience.add(each)
    for number in range(3):
        audience.publish(ToRoom(text_frame(b"of %d" % number), "lobby", skip_user=f"user-{number}"))
    await until(lambda: all(each.heard for each in users))
    for number, each in enumerate(users):
        assert each.heard == [b"of %d" % other for other in range(3) if other != number]
        assert each.writes == 1
