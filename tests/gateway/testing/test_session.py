"""`FakeSession`: the built-in handlers run on it, and it shows what they did."""

from functools import partial
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from gateway.testing import Call, FakeSession
from handlers.base import MsgHandler, Session
from handlers.errors import MissingScope, NotAMember, NotFound, UnknownType
from handlers.factory import MsgHandlerFactory
from handlers.registry import HANDLERS
from handlers.streaming import Reply
from handlers.system import AnnounceHandler, ByeHandler, PingHandler
from handlers.upstream import UpstreamHandler
from schemas.base import Empty, Event
from schemas.codes import Close
from schemas.messages.upstream import UpstreamReply

SCOPES = {handler.scope for handler in HANDLERS.values() if handler.scope is not None}

DATA: dict[str, dict[str, Any]] = {
    "auth.refresh": {"token": "t"},
    "echo": {"text": "hello"},
    "cancel": {"id": 7},
    "announce": {"text": "hello"},
    "chat.send": {"room": "lobby", "text": "hello"},
    "chat.append": {"room": "lobby", "message_id": "yj4XTlDc.17", "text": "more"},
    "chat.edit": {"room": "lobby", "message_id": "e.1", "text": "hello"},
    "chat.delete": {"room": "lobby", "message_id": "e.1"},
    "chat.read": {"room": "lobby", "offset": 1},
    "presence.get": {"users": ["bob"]},
    "presence.set": {"room": "lobby", "state": {"typing": "no"}},
    "room.list": {},
    "room.resume": {"rooms": [{"room": "lobby"}]},
    "room.signal": {"room": "lobby", "name": "wave"},
    "room.invite": {"room": "lobby", "user": "bob"},
    "room.kick": {"room": "lobby", "user": "bob"},
    "room.role": {"room": "lobby", "user": "bob", "role": "member"},
    "room.update": {"room": "lobby", "title": "The lobby"},
    "direct.open": {"user": "bob"},
    "ping": {},
    "bye": {},
}


class Shouted(Event):
    """An event of this test."""

    type: ClassVar[str] = "test.shouted"


class Doing(MsgHandler[Empty, BaseModel]):
    """The base of this test's handlers."""

    schema = Empty


@pytest.fixture
def session() -> FakeSession[None]:
    return FakeSession(scopes=SCOPES)


def test_the_fake_has_the_whole_protocol(session: FakeSession[None]) -> None:
    typed: Session[None] = session
    assert typed.state is None


@pytest.mark.parametrize("kind", sorted(HANDLERS.keys() - {"auth"}))
async def test_each_built_in_handler_replies(session: FakeSession[None], kind: str) -> None:
    data = DATA.get(kind, {"room": "lobby"})
    await MsgHandlerFactory().get_handler(session=session, request_data={"type": kind, "id": 1, "data": data}).run()
    assert session.refusals == []
    assert [id for id, _ in session.replies] == [1]


async def test_a_message_of_no_type_is_refused(session: FakeSession[None]) -> None:
    await MsgHandlerFactory().get_handler(session=session, request_data={"type": "no.such", "id": 1}).run()
    [(_, error)] = session.refusals
    assert isinstance(error, UnknownType)


async def test_a_missing_scope_is_refused() -> None:
    session = FakeSession()
    await session.run(AnnounceHandler, {"text": "hello"})
    [(id, error)] = session.refusals
    assert isinstance(error, MissingScope)
    assert id == 1


async def test_calls_are_recorded_in_their_order(session: FakeSession[None]) -> None:
    await session.rooms.join("lobby", limit=3)
    await session.rooms.leave("lobby")
    assert session.calls == [
        Call("rooms.join", {"room": "lobby", "since": None, "limit": 3}),
        Call("rooms.leave", {"room": "lobby"}),
    ]


async def test_a_test_presets_answers_and_errors(session: FakeSession[None]) -> None:
    session.answers["rooms.role"] = "moderator"
    session.answers["publish_to_all"] = 7
    session.answers["rooms.leave"] = NotFound("no such room")
    assert await session.rooms.role("lobby") == "moderator"
    assert await session.publish_to_all(Shouted()) == 7
    with pytest.raises(NotFound):
        await session.rooms.leave("lobby")
    session.answers["rooms.leave"] = NotAMember("lobby")
    with pytest.raises(NotAMember):
        await session.rooms.leave("lobby")


async def test_a_service_streams_what_a_test_lists(session: FakeSession[None]) -> None:
    make = partial(UpstreamHandler, "orders.watch")
    await make(session, 1, {"sku": "tea"}).run()
    session.answers["upstream.stream"] = ["one ", "two", Reply(UpstreamReply({"done": True}))]
    await make(session, 2, {}).run()
    assert [reply.model_dump() for _, reply in session.replies] == [{"sku": "tea"}, {"text": "one two", "done": True}]
    assert session.calls[0] == Call("upstream.stream", {"type": "orders.watch", "data": {"sku": "tea"}, "id": 1})
    session.answers["upstream.stream"] = UnknownType("orders.watch", ())
    await make(session, 3, {}).run()
    assert [id for id, _ in session.refusals] == [3]


@pytest.mark.parametrize("verb", ["rooms.jion", "join", "room.join", "calls", ""])
def test_an_answer_of_no_verb_is_an_error(session: FakeSession[None], verb: str) -> None:
    with pytest.raises(KeyError, match="expected a verb of a session"):
        session.answers[verb] = None


async def test_events_are_recorded_by_who_gets_them(session: FakeSession[None]) -> None:
    session.send_event(Shouted())
    await session.publish_to_all(Shouted())
    assert (session.events, session.published) == ([Shouted()], [Shouted()])


async def test_the_end_of_the_connection_is_recorded(session: FakeSession[None]) -> None:
    await session.run(ByeHandler)
    assert session.closed is Close.BYE


async def test_the_costs_add_up(session: FakeSession[None]) -> None:
    session.charge(1.5)
    session.charge(2)
    assert session.charged == 3.5


async def test_the_time_is_the_one_of_the_clock(session: FakeSession[None]) -> None:
    before = session.now()
    session.clock.ahead = 3600
    await session.run(PingHandler)
    [(_, reply)] = session.replies
    assert reply.model_dump()["server_time"] > before


async def test_a_mistake_of_a_handler_reaches_the_test(session: FakeSession[None]) -> None:
    class Wrong(Doing):
        async def handle(self, data: Empty) -> BaseModel:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await session.run(Wrong)


async def test_a_reply_that_is_no_json_reaches_the_test(session: FakeSession[None]) -> None:
    class Unwritable(BaseModel):
        value: Any = object()

    class Wrong(Doing):
        async def handle(self, data: Empty) -> BaseModel:
            return Unwritable()

    with pytest.raises(ValueError, match="serialize"):
        await session.run(Wrong)
