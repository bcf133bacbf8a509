"""Questions between nodes: answered by the right one, at once or not at all."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.base import MAX_NODE_MESSAGE_BYTES, Bus, MessageTooLong, NodeMessage
from gateway.bus.memory import MemoryBus
from gateway.bus.redis import RedisBus
from gateway.bus.redis_client import connect
from gateway.cluster import node_calls
from gateway.cluster.node_calls import NodeCalls, NodeFailed, NodeUnavailable, PartLost, Send
from gateway.core import faults
from gateway.core.clock import SystemClock
from gateway.testing import settings_for_tests
from tests.gateway.cluster.conftest import LEASE_SECONDS
from tests.support.valkey import Valkey, running_cluster, running_valkey
from tests.support.waiting import until

LONG = 20.0
"""Far longer than any answer takes here."""

Data = dict[str, Any]
RunCalls = Callable[..., AbstractAsyncContextManager[NodeCalls]]


@asynccontextmanager
async def calls_over(bus: Bus, lease: float = LEASE_SECONDS) -> AsyncIterator[NodeCalls]:
    calls = NodeCalls(bus, lease, SystemClock())
    await bus.start(lambda _: 0, lambda _: None, lambda _: None)
    try:
        async with calls.running():
            yield calls
    finally:
        await bus.close()


@pytest.fixture
def run_calls(shared_valkey: Valkey, prefix: str) -> RunCalls:
    """Run a node that only asks and answers."""

    def run(valkey: Valkey | str = shared_valkey, lease: float = LEASE_SECONDS) -> Any:
        url = valkey if isinstance(valkey, str) else valkey.url
        settings = settings_for_tests(Path("unused"), bus_url=url, bus_prefix=prefix)
        return calls_over(RedisBus(connect(settings), settings, secrets.token_hex(8)), lease)

    return run


async def double(data: Data) -> Data:
    return {"twice": 2 * data["number"]}


async def never(_: Data) -> Data:
    await asyncio.Event().wait()
    return {}


def fail(_: str) -> None:
    raise ZeroDivisionError


async def know_each_other(*nodes: NodeCalls) -> None:
    ids = {node.own_id for node in nodes}
    await until(lambda: all(node.others == ids - {node.own_id} for node in nodes))


async def test_in_one_process_a_node_asks_itself() -> None:
    async with calls_over(MemoryBus()) as calls:
        calls.serve("double", double)
        assert await calls.ask(calls.own_id, "double", {"number": 4}, LONG) == {"twice": 8}
        assert await calls.ask_all("double", {"number": 5}, LONG) == {calls.own_id: {"twice": 10}}
        with pytest.raises(NodeUnavailable, match="no node with this id"):
            await calls.ask("0123456789abcdef", "double", {"number": 4}, LONG)
        calls.announce("news", {})  # there is no listener


async def test_in_one_process_a_handler_fails_as_it_would_on_another_node(caplog: pytest.LogCaptureFixture) -> None:
    async with calls_over(MemoryBus()) as calls:
        calls.serve("double", double)
        calls.serve("never", never)
        with pytest.raises(NodeFailed, match="its log says why"):
            await calls.ask(calls.own_id, "double", {}, LONG)
        assert "KeyError" in caplog.text
        with pytest.raises(NodeFailed, match="does not serve"):
            await calls.ask(calls.own_id, "nothing", {}, LONG)
        with pytest.raises(NodeUnavailable, match=r"within 0\.01 seconds"):
            await calls.ask(calls.own_id, "never", {}, 0.01)
        assert await calls.ask_all("never", {}, 0.01) == {}
        assert await calls.ask_all("double", {}, LONG) == {}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 3601])
async def test_a_question_has_a_deadline(seconds: float) -> None:
    async with calls_over(MemoryBus()) as calls:
        calls.serve("double", double)
        with pytest.raises(ValueError, match="seconds"):
            await calls.ask_all("double", {"number": 1}, seconds)


async def test_a_kind_has_one_handler_and_one_listener() -> None:
    async with calls_over(MemoryBus()) as calls:
        calls.serve("double", double)
        calls.listen("news", lambda *_: None)
        with pytest.raises(ValueError, match="one handler of 'double'"):
            calls.serve("double", double)
        with pytest.raises(ValueError, match="one listener of 'news'"):
            calls.listen("news", lambda *_: None)


@pytest.mark.server
async def test_nodes_ask_each_other(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        here.serve("double", double)
        there.serve("double", double)
        await know_each_other(here, there)
        assert await here.ask(there.own_id, "double", {"number": 21}, LONG) == {"twice": 42}
        assert await there.ask_all("double", {"number": 1}, LONG) == {
            here.own_id: {"twice": 2},
            there.own_id: {"twice": 2},
        }


@pytest.mark.server
async def test_nodes_of_a_sharded_cluster_ask_each_other(run_calls: RunCalls) -> None:
    with running_cluster() as cluster:
        url = f"redis+cluster://127.0.0.1:{cluster.port}"
        async with run_calls(url) as here, run_calls(url) as there:
            there.serve("double", double)
            await know_each_other(here, there)
            assert await here.ask(there.own_id, "double", {"number": 21}, LONG) == {"twice": 42}
            assert await here.ask_all("double", {"number": 1}, LONG) == {there.own_id: {"twice": 2}}


@pytest.mark.server
async def test_a_node_hears_what_the_others_announce_and_not_its_own_news(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        heard: list[tuple[str, Data]] = []
        mine: list[tuple[str, Data]] = []
        there.listen("news", lambda *news: heard.append(news))
        here.listen("news", lambda *news: mine.append(news))
        await know_each_other(here, there)
        here.announce("unknown", {})
        here.announce("news", {"free": 3})
        await until(lambda: heard)
        assert heard == [(here.own_id, {"free": 3})]
        assert mine == []


@pytest.mark.server
async def test_nodes_are_told_when_one_comes_and_when_it_goes(run_calls: RunCalls) -> None:
    async with run_calls() as here:
        joined: list[str] = []
        left: list[str] = []
        here.watch(joined.append, left.append)
        here.watch(fail, fail)  # which stops nothing
        async with run_calls() as there:
            await know_each_other(here, there)
            assert joined == [there.own_id]
        await until(lambda: left == [there.own_id])
        assert here.others == frozenset()
        with pytest.raises(NodeUnavailable, match="no node with this id"):
            await here.ask(there.own_id, "double", {"number": 1}, LONG)


@pytest.mark.server
async def test_a_failing_handler_fails_its_question_and_nothing_else(
    run_calls: RunCalls, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve("double", double)

        async def answer_too_much(_: Data) -> Data:
            return {"text": "x" * MAX_NODE_MESSAGE_BYTES}

        async def answer_no_json(_: Data) -> Data:
            return {"set": {1, 2}}

        there.serve("too-much", answer_too_much)
        there.serve("no-json", answer_no_json)
        await know_each_other(here, there)
        before = faults.counters["node_calls"]
        for kind in ("double", "too-much", "no-json"):
            with pytest.raises(NodeFailed, match=f"'{kind}'; its log says why"):
                await here.ask(there.own_id, kind, {}, LONG)
        assert faults.counters["node_calls"] == before + 3
        assert "KeyError" in caplog.text
        with pytest.raises(NodeFailed):
            await here.ask(there.own_id, "nothing", {}, LONG)
        assert await here.ask(there.own_id, "double", {"number": 1}, LONG) == {"twice": 2}


@pytest.mark.server
async def test_a_question_may_be_too_long_for_the_bus(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve("double", double)
        await know_each_other(here, there)
        with pytest.raises(MessageTooLong, match="at most 262144 bytes"):
            await here.ask(there.own_id, "double", {"text": "x" * MAX_NODE_MESSAGE_BYTES}, LONG)
        with pytest.raises(MessageTooLong, match="send less"):
            await here.ask_all("double", {"text": "x" * MAX_NODE_MESSAGE_BYTES}, LONG)
        assert here._questions == {}
        data = {"number": 1, "text": "x" * (MAX_NODE_MESSAGE_BYTES - 100)}
        assert await here.ask(there.own_id, "double", data, LONG) == {"twice": 2}


@pytest.mark.server
async def test_a_node_that_dies_costs_a_question_only_its_deadline(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there, run_calls() as dead:
        for node in (here, there, dead):
            node.serve("double", double)
        await know_each_other(here, there, dead)
        assert isinstance(dead._bus, RedisBus)
        dead._bus._on_node_message = None  # as a node that was killed, it neither hears nor speaks
        dead._bus._up = False
        with pytest.raises(NodeUnavailable, match=r"within 0\.1 seconds"):
            await here.ask(dead.own_id, "double", {"number": 1}, 0.1)
        assert await here.ask_all("double", {"number": 1}, 0.2) == {
            here.own_id: {"twice": 2},
            there.own_id: {"twice": 2},
        }
        # After a lease, it counts as gone, and costs nothing.
        await until(lambda: here.others == {there.own_id})
        assert len(await here.ask_all("double", {"number": 1}, LONG)) == 2


@pytest.mark.server
async def test_a_node_that_ends_fails_its_questions_at_once(run_calls: RunCalls) -> None:
    async with run_calls() as here:
        async with run_calls() as there:
            there.serve("never", never)
            await know_each_other(here, there)
            asked = [asyncio.create_task(here.ask(there.own_id, "never", {}, LONG)) for _ in range(3)]
            await until(lambda: len(there._working) == 3)
        for each in asked:
            with pytest.raises(NodeUnavailable):
                await asyncio.wait_for(each, LONG / 4)


@pytest.mark.server
async def test_a_cancelled_question_cancels_its_handler_and_no_other(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        cancelled: list[int] = []

        async def wait(data: Data) -> Data:
            try:
                return await never(data)
            except asyncio.CancelledError:
                cancelled.append(data["number"])
                raise

        there.serve("wait", wait)
        there.serve("double", double)
        await know_each_other(here, there)
        asked = [asyncio.create_task(here.ask(there.own_id, "wait", {"number": each}, LONG)) for each in range(3)]
        await until(lambda: len(there._working) == 3)
        asked[1].cancel()
        await until(lambda: len(there._working) == 2)
        assert cancelled == [1]
        assert await here.ask(there.own_id, "double", {"number": 1}, LONG) == {"twice": 2}
        assert not asked[0].done()
        assert not asked[2].done()
        for each in asked:
            each.cancel()
        await asyncio.wait(asked)
        assert here._questions == {}


@pytest.mark.server
async def test_the_end_of_a_node_ends_its_own_questions(run_calls: RunCalls) -> None:
    async with run_calls() as there:
        there.serve("never", never)
        async with run_calls() as here:
            await know_each_other(here, there)
            asked = asyncio.create_task(here.ask(there.own_id, "never", {}, LONG))
            await until(lambda: there._working)
        with pytest.raises(NodeUnavailable, match="this node ends"):
            await asyncio.wait_for(asked, LONG / 4)


@pytest.mark.server
async def test_without_the_bus_a_question_fails_at_once(run_calls: RunCalls) -> None:
    with running_valkey() as valkey:
        async with run_calls(valkey, lease=60) as here, run_calls(valkey, lease=60) as there:
            for node in (here, there):
                node.serve("double", double)
            await know_each_other(here, there)
            valkey.stop()
            await until(lambda: not here._bus.is_up)
            with pytest.raises(NodeUnavailable, match="the bus is down"):
                await here.ask(there.own_id, "double", {"number": 1}, LONG)
            assert await here.ask_all("double", {"number": 1}, LONG) == {here.own_id: {"twice": 2}}
            valkey.start()
            await until(lambda: here._bus.is_up and there._bus.is_up)
            assert await here.ask(there.own_id, "double", {"number": 1}, LONG) == {"twice": 2}


@pytest.mark.server
async def test_questions_in_any_number_get_their_own_answers(run_calls: RunCalls) -> None:
    """Ask with random deadlines, so that many answers come too late, and check that no question gets another's."""
    chance = random.Random(7)

    async def echo(data: Data) -> Data:
        await asyncio.sleep(chance.random() / 20)
        if data["number"] % 7 == 0:
            raise ZeroDivisionError
        return {"node": data["node"], "number": data["number"]}

    async with run_calls() as first, run_calls() as second, run_calls() as third:
        nodes = [first, second, third]
        for node in nodes:
            node.serve("echo", echo)
            node.serve("other", echo)
        await know_each_other(*nodes)
        logging.getLogger("gateway.core.faults").disabled = True
        try:
            outcomes = await asyncio.gather(*(_ask_one(nodes, number, chance) for number in range(600)))
        finally:
            logging.getLogger("gateway.core.faults").disabled = False
        assert outcomes.count("answered") > 100
        assert outcomes.count("late") > 20
        assert outcomes.count("failed") > 20
        assert all(node._questions == {} for node in nodes)
        await until(lambda: not any(node._working for node in nodes))


async def _ask_one(nodes: list[NodeCalls], number: int, chance: random.Random) -> str:
    asker, asked = chance.choice(nodes), chance.choice(nodes)
    data = {"node": asked.own_id, "number": number}
    kind = chance.choice(["echo", "other"])
    seconds = chance.choice([0.01, LONG])
    if chance.random() < 0.2:
        for answer in (await asker.ask_all(kind, data, seconds)).values():
            assert answer == data
        return "asked all"
    try:
        assert await asker.ask(asked.own_id, kind, data, seconds) == data
    except NodeFailed:
        return "failed"
    except NodeUnavailable:
        return "late"
    return "answered"


@pytest.mark.server
async def test_an_answer_of_another_node_or_to_another_question_counts_for_nothing(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there, run_calls() as liar:
        asked = asyncio.Event()

        async def wait(_: Data) -> Data:
            asked.set()
            await until(lambda: lied.is_set())
            return {"from": "the right one"}

        lied = asyncio.Event()
        there.serve("wait", wait)
        await know_each_other(here, there, liar)
        question = asyncio.create_task(here.ask(there.own_id, "wait", {}, LONG))
        await asyncio.wait_for(asked.wait(), LONG)
        (number,) = here._questions
        for name, id in (("wait", number), ("other", number), ("wait", number + 1)):
            for what in ("failure", "answer"):
                liar._bus.send(here.own_id, NodeMessage(liar.own_id, what, name, {"from": "a liar"}, id))
        there._bus.send(here.own_id, NodeMessage(there.own_id, "answer", "other", {"from": "another"}, number))
        heard: list[str] = []
        here.listen("end", lambda node, _: heard.append(node))
        liar.announce("end", {})
        there.announce("end", {})
        await until(lambda: len(heard) == 2)
        lied.set()
        assert await question == {"from": "the right one"}


@pytest.mark.server
async def test_a_doubled_question_is_handled_once(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        handled: list[Data] = []

        async def note(data: Data) -> Data:
            handled.append(data)
            return {}

        there.serve("note", note)
        await know_each_other(here, there)
        for _ in range(3):
            here._bus.send(there.own_id, NodeMessage(here.own_id, "ask", "note", {"number": 1}, 77, LONG))
        assert await here.ask(there.own_id, "note", {"number": 2}, LONG) == {}
        assert handled == [{"number": 1}, {"number": 2}]


@pytest.mark.server
async def test_too_many_questions_are_refused_at_once(run_calls: RunCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_calls, "MAX_QUESTIONS", 2)
    async with run_calls() as here, run_calls() as other, run_calls() as there:
        there.serve("never", never)
        await know_each_other(here, other, there)
        waiting = [asyncio.create_task(here.ask(there.own_id, "never", {}, LONG)) for _ in range(2)]
        await until(lambda: len(there._working) == 2)
        with pytest.raises(NodeUnavailable, match="2 questions wait"):
            await here.ask(there.own_id, "never", {}, LONG)
        with pytest.raises(NodeFailed):
            await other.ask(there.own_id, "never", {}, LONG)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        assert here._questions == {}


HEAD = b'jg1 other\n{"kind":"node",'
UNREADABLE = {
    "news with a number": (HEAD + b'"what":"news","name":"n","id":1}\n{}', "head"),
    "a question without a number": (HEAD + b'"what":"ask","name":"n","seconds":1}\n{}', "head"),
    "a question without a deadline": (HEAD + b'"what":"ask","name":"n","id":1}\n{}', "head"),
    "a question for ever": (HEAD + b'"what":"ask","name":"n","id":1,"seconds":1e9}\n{}', "head"),
    "an answer with a deadline": (HEAD + b'"what":"answer","name":"n","id":1,"seconds":1}\n{}', "head"),
    "a number that is a text": (HEAD + b'"what":"answer","name":"n","id":"1"}\n{}', "head"),
    "something new": (HEAD + b'"what":"order","name":"n","id":1}\n{}', "head"),
    "a sender with a space": (b'jg1 the other\n{"kind":"node","what":"news","name":"n"}\n{}', "head"),
    "no sender": (b'jg1 \n{"kind":"node","what":"news","name":"n"}\n{}', "head"),
    "no data": (HEAD + b'"what":"news","name":"n"}', "text"),
    "data that is no JSON": (HEAD + b'"what":"news","name":"n"}\n{hunter2}', "text"),
    "data that is no object": (HEAD + b'"what":"news","name":"n"}\n[1]', "text"),
    "two data": (HEAD + b'"what":"news","name":"n"}\n{}\n{}', "text"),
    "long data": (HEAD + b'"what":"news","name":"n"}\n{"x":"' + b"x" * MAX_NODE_MESSAGE_BYTES + b'"}', "text"),
    "a cancellation without a number": (HEAD + b'"what":"cancel","name":"n"}\n{}', "head"),
    "a cancellation for all": (HEAD + b'"what":"cancel","name":"n","id":1}\n{}', "channel"),
    "an answer for all": (HEAD + b'"what":"answer","name":"n","id":1}\n{}', "channel"),
}


@pytest.mark.server
@pytest.mark.parametrize(("data", "reason"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_message_that_no_node_sends_is_refused_and_counted(
    data: bytes, reason: str, run_calls: RunCalls, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve("double", double)
        await know_each_other(here, there)
        assert isinstance(here._bus, RedisBus)
        await here._bus._client.execute_command("PUBLISH", f"{prefix}:nodes", data)
        assert await here.ask(there.own_id, "double", {"number": 1}, LONG) == {"twice": 2}
        await until(lambda: there._bus.counters.rejected == {reason: 1})
        assert "hunter2" not in caplog.text


@pytest.mark.server
async def test_a_nodes_own_channel_takes_only_messages_for_one_node(run_calls: RunCalls, prefix: str) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve("double", double)
        await know_each_other(here, there)
        assert isinstance(here._bus, RedisBus)
        for data in (
            HEAD + b'"what":"news","name":"n"}\n{}',
            b'jg1 other\n{"kind":"revoked","user":"u1","sessions":null}',
            b'jg1 other\n{"kind":"event"}\n{"type":"x","data":1}',
        ):
            await here._bus._client.execute_command("PUBLISH", f"{prefix}:node:{there.own_id}", data)
        assert await here.ask(there.own_id, "double", {"number": 1}, LONG) == {"twice": 2}
        await until(lambda: there._bus.counters.rejected == {"channel": 3})


async def count_up(data: Data, send: Send) -> Data:
    """Send numbers, then answer."""
    for number in range(data["most"]):
        send({"number": number})
    return {"most": data["most"]}


async def ask_for_parts(asking: NodeCalls, node: str, kind: str = "count", **data: Any) -> tuple[list[Data], Data]:
    parts: list[Data] = []
    answer = await asking.ask(node, kind, data, LONG, parts.append)
    return parts, answer


@pytest.mark.unit
async def test_in_one_process_an_answer_may_have_parts() -> None:
    async with calls_over(MemoryBus()) as calls:
        calls.serve_stream("count", count_up)
        numbers = [{"number": number} for number in range(3)]
        assert await ask_for_parts(calls, calls.own_id, most=3) == (numbers, {"most": 3})


@pytest.mark.server
async def test_the_parts_of_an_answer_come_before_it_and_in_order(run_calls: RunCalls) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve_stream("count", count_up)
        there.serve("double", double)
        await know_each_other(here, there)
        for most in (0, 1, 200):
            numbers = [{"number": number} for number in range(most)]
            assert await ask_for_parts(here, there.own_id, most=most) == (numbers, {"most": most})
        assert await ask_for_parts(here, there.own_id, "double", number=1) == ([], {"twice": 2})
        assert await here.ask(there.own_id, "count", {"most": 3}, LONG) == {"most": 3, "parts": 3}


@pytest.mark.server
@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_lost_part_fails_its_question_and_a_doubled_one_does_nothing(
    run_calls: RunCalls, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_calls() as here, run_calls() as there:
        there.serve_stream("count", count_up)
        await know_each_other(here, there)
        send, times = there._bus.send, 1

        def send_badly(node: str | None, message: NodeMessage) -> bool:
            is_chosen = message.what == "part" and message.data["number"] == lost
            for _ in range(times if is_chosen else 1):
                send(node, message)
            return True

        monkeypatch.setattr(there._bus, "send", send_badly)
        times = 2
        assert len((await ask_for_parts(here, there.own_id, most=3))[0]) == 3
        times = 0
        parts: list[Data] = []
        with pytest.raises(PartLost):
            await here.ask(there.own_id, "count", {"most": 3}, LONG, parts.append)
        assert parts == [{"number": number} for number in range(lost - 1)]
        assert here._questions == {}


@pytest.mark.server
async def test_parts_that_no_question_waits_for_end_their_handler(
    run_calls: RunCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_calls() as here, run_calls() as there:

        async def count_for_ever(_: Data, send: Send) -> Data:
            while True:
                send({})
                await asyncio.sleep(0.01)

        there.serve_stream("count", count_for_ever)
        await know_each_other(here, there)
        send = here._bus.send
        lose = True

        def lose_cancellations(node: str | None, message: NodeMessage) -> bool:
            return (lose and message.what == "cancel") or send(node, message)

        monkeypatch.setattr(here._bus, "send", lose_cancellations)
        came = asyncio.Event()
        asked = asyncio.create_task(here.ask(there.own_id, "count", {}, LONG, lambda _: came.set()))
        await asyncio.wait_for(came.wait(), LONG)
        asked.cancel()
        await asyncio.wait([asked])
        assert there._working
        lose = False
        await until(lambda: not there._working)


@pytest.mark.server
async def test_a_node_works_on_nothing_for_a_node_that_is_gone(run_calls: RunCalls) -> None:
    async with run_calls() as there:
        there.serve("never", never)
        async with run_calls() as here:
            await know_each_other(here, there)
            asked = asyncio.create_task(here.ask(there.own_id, "never", {}, LONG))
            await until(lambda: there._working)
            assert isinstance(here._bus, RedisBus)
            here._bus._up = False  # as a node that was killed, it says nothing more
            await until(lambda: not there._working)
            asked.cancel()
            await asyncio.wait([asked])
