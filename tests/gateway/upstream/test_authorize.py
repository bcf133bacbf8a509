"""The service of `[authorize]`: good ones, slow ones, dead ones and lying ones, and what is remembered of answers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from gateway.core import http_connection
from gateway.routes.reloader import RoutesReloader
from gateway.testing import MovableClock, settings_for_tests
from gateway.upstream import authorize
from gateway.upstream.authorize import MAX_CONNECTIONS, AuthorizeService, Verdict
from handlers.errors import Unavailable
from handlers.registry import BUILT_IN
from tests.support.child import free_port
from tests.support.upstreams import (
    FORGED,
    LATE,
    SECRET,
    WRONG,
    Behaviour,
    Conversation,
    Upstream,
    answering,
    hanging,
    running_upstream,
)
from tests.support.waiting import until

pytestmark = pytest.mark.server

ALLOWED = Verdict(allow=True)
DENIED = Verdict(allow=False)

Decide = Callable[[dict[str, Any]], object]


def deciding(decide: Decide) -> Behaviour:
    """Return the behaviour of a service that answers each question as a function says."""

    async def behave(client: Conversation) -> None:
        while True:
            await client.answer(decide((await client.request()).json))

    return behave


def write(path: Path, url: str, lines: str = "") -> None:
    path.write_text(f'[authorize]\nurl = "{url}"\nsecret = "{SECRET}"\n{lines}')


def clear(path: Path) -> None:
    path.write_text("scopes = []\n")


class Asking:
    """A service of rights, and the gateway's side of it."""

    def __init__(self, path: Path, upstream: Upstream, routes: RoutesReloader, clock: MovableClock) -> None:
        self.path = path
        self.upstream = upstream
        self.routes = routes
        self.clock = clock
        self.service = AuthorizeService(routes, clock)

    async def ask(
        self, user: str = "alice", action: str = "join", room: str = "order-1", claims: dict[str, Any] | None = None
    ) -> Verdict:
        return await self.service.ask(user, action, room, claims)

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [request.json for request in self.upstream.requests]


@asynccontextmanager
async def asking(path: Path, behave: Behaviour, lines: str = "") -> AsyncIterator[Asking]:
    clock = MovableClock()
    async with running_upstream(behave) as upstream:
        write(path, upstream.url, lines)
        routes = RoutesReloader(settings_for_tests(path.parent, routes=path), BUILT_IN)
        one = Asking(path, upstream, routes, clock)
        async with one.service.running():
            yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.toml"


async def unavailable(question: Awaitable[Verdict]) -> None:
    with pytest.raises(Unavailable) as refused:
        await question
    assert FORGED not in str(refused.value)


async def test_a_question_names_user_action_and_room_and_is_signed(path: Path) -> None:
    async with asking(path, answering({"allow": True}), 'claims = ["email", "plan"]\n') as one:
        assert await one.ask(claims={"plan": "gold", "email": "a@example.com", "sub": "secret"}) == ALLOWED
        [request] = one.upstream.requests
        assert request.json == {
            "user": "alice",
            "action": "join",
            "room": "order-1",
            "claims": {"email": "a@example.com", "plan": "gold"},
        }
        assert Webhook(SECRET).verify(request.body, request.headers) == request.json
        assert one.service.outcomes == {"allowed": 1}


async def test_the_service_may_deny_and_name_a_role(path: Path) -> None:
    def decide(question: dict[str, Any]) -> object:
        if question["room"] == "order-1":
            return {"allow": True, "role": "moderator", "reason": "other keys are ignored"}
        return {"allow": False}

    async with asking(path, deciding(decide)) as one:
        assert await one.ask() == Verdict(allow=True, role="moderator")
        assert await one.ask(room="order-2") == DENIED
        assert one.service.outcomes == {"allowed": 1, "denied": 1}


async def test_only_some_actions_and_rooms_are_asked_about(path: Path) -> None:
    lines = 'actions = ["join", "create"]\nrooms = ["order-*"]\n'
    async with asking(path, answering({"allow": False}), lines) as one:
        assert one.service.remembered == 0
        assert await one.ask(action="send") == ALLOWED
        assert await one.ask(room="lobby") == ALLOWED
        asked = [("send", "order-1"), ("join", "lobby"), ("join", "order-1")]
        assert [one.service.is_asked(*each) for each in asked] == [False, False, True]
        assert one.questions == []
        assert await one.ask(action="create") == DENIED


async def test_without_the_table_nothing_is_asked(path: Path, tmp_path: Path) -> None:
    clear(path)
    routes = RoutesReloader(settings_for_tests(tmp_path, routes=path), BUILT_IN)
    service = AuthorizeService(routes, MovableClock())
    async with service.running():
        assert await service.ask("alice", "join", "lobby", None) == ALLOWED


async def test_an_answer_counts_as_long_as_it_says(path: Path) -> None:
    answers = iter([{"allow": True, "for_seconds": 10}, {"allow": False, "for_seconds": 0.5}, {"allow": True}] * 2)
    async with asking(path, deciding(lambda _: next(answers))) as one:
        one.clock.stop()
        assert [await one.ask() for _ in range(3)] == [ALLOWED] * 3
        one.clock.ahead += 9.9
        assert await one.ask() == ALLOWED
        assert len(one.questions) == 1
        one.clock.ahead += 0.1
        assert [await one.ask() for _ in range(3)] == [DENIED] * 3
        one.clock.ahead += 0.5
        assert await one.ask() == ALLOWED
        assert len(one.questions) == 3
        # The last answer was for this question alone.
        assert await one.ask() == ALLOWED
        assert len(one.questions) == 4
        assert one.service.outcomes == {"allowed": 3, "denied": 1, "remembered": 5}


async def test_an_answer_counts_for_an_hour_at_most(path: Path) -> None:
    async with asking(path, answering({"allow": True, "for_seconds": 1e9})) as one:
        one.clock.stop()
        await one.ask()
        one.clock.ahead += 3599
        await one.ask()
        assert len(one.questions) == 1
        one.clock.ahead += 1
        await one.ask()
        assert len(one.questions) == 2


async def test_an_answer_is_for_its_user_action_room_and_claims_alone(path: Path) -> None:
    async with asking(path, answering({"allow": True, "for_seconds": 60}), 'claims = ["plan"]\n') as one:
        for question in (
            {},
            {"user": "bob"},
            {"action": "send"},
            {"room": "order-2"},
            {"claims": {"plan": "gold"}},
            {"claims": {"plan": "gold", "iat": 1}},  # not on the list, so it makes no other question
            {"claims": {"iat": 2}},
        ):
            await one.ask(**question)
        assert len(one.questions) == 5


async def test_the_memory_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "MAX_REMEMBERED", 10)
    async with asking(path, answering({"allow": True, "for_seconds": 60})) as one:
        for number in range(30):
            await one.ask(room=f"order-{number}")
        assert one.service.remembered == 10
        await one.ask(room="order-29")
        assert len(one.questions) == 30
        await one.ask(room="order-0")
        assert len(one.questions) == 31


async def test_the_same_question_at_the_same_time_is_one_request(path: Path) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def behave(client: Conversation) -> None:
        while True:
            await client.request()
            reached.set()
            await release.wait()
            await client.answer({"allow": True})

    async with asking(path, behave) as one:
        first = asyncio.create_task(one.ask())
        await reached.wait()
        others = [asyncio.create_task(one.ask()) for _ in range(50)]
        another = asyncio.create_task(one.ask(user="bob"))
        await asyncio.sleep(0)
        first.cancel()  # its connection has ended, and the others still wait
        with suppress(asyncio.CancelledError):
            await first
        release.set()
        assert await asyncio.gather(*others) == [ALLOWED] * 50
        assert await another == ALLOWED
        assert [question["user"] for question in one.questions] == ["alice", "bob"]
        assert one.service.outcomes["shared"] == 50
        await one.ask()  # an answer of no time is for those alone that waited for it
        assert len(one.questions) == 3


async def test_many_questions_go_out_at_once_but_not_all(path: Path) -> None:
    open_now = most = 0

    async def behave(client: Conversation) -> None:
        nonlocal open_now, most
        while True:
            await client.request()
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0.01)
            open_now -= 1
            await client.answer({"allow": True})

    async with asking(path, behave, "timeout_seconds = 10\n") as one:
        verdicts = await asyncio.gather(*(one.ask(room=f"order-{number}") for number in range(300)))
        assert verdicts == [ALLOWED] * 300
        assert 1 < most <= MAX_CONNECTIONS


STRANGE: dict[str, object] = {
    "nothing": {},
    "a text": {"allow": "true"},
    "a number": {"allow": 1},
    "null": {"allow": None},
    "an unknown role": {"allow": True, "role": "admin"},
    "a role that is no text": {"allow": True, "role": 1},
    "a time before now": {"allow": True, "for_seconds": -1},
    "a time as a text": {"allow": True, "for_seconds": "60"},
    "a time as a switch": {"allow": True, "for_seconds": True},
    "a list": [True],
    "a bare word": True,
    "an answer of a route": {"data": {"allow": True}},
    "a NaN": b'{"allow": true, "for_seconds": NaN}',
    "an infinite time": b'{"allow": true, "for_seconds": 1e999}',
    "two answers": b'{"allow": false, "allow": true}',
    "too much": {"allow": True, "reason": "x" * 5000},
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE.keys())
async def test_a_strange_answer_allows_nothing(path: Path, answer: object) -> None:
    async with asking(path, answering(answer)) as one:
        await unavailable(one.ask())
        # One that is too long is no answer at all.
        assert one.service.outcomes in ({"wrong": 1}, {"failed": 1})


@pytest.mark.parametrize("behave", WRONG.values(), ids=WRONG.keys())
async def test_a_bad_service_allows_nothing(path: Path, behave: Behaviour) -> None:
    async with asking(path, behave) as one:
        await unavailable(one.ask())


@pytest.mark.parametrize("behave", LATE.values(), ids=LATE.keys())
async def test_a_late_service_allows_nothing(path: Path, behave: Behaviour) -> None:
    async with asking(path, behave, "timeout_seconds = 0.1\n") as one:
        await unavailable(one.ask())
        assert one.service.outcomes == {"timeout": 1}


@pytest.mark.parametrize("status", [201, 204, 302, 307, 401, 403, 500, 503])
async def test_another_status_allows_nothing(path: Path, status: int) -> None:
    async with asking(path, answering({"allow": True}, status, location="http://127.0.0.1:9/")) as one:
        await unavailable(one.ask())


async def test_a_dead_service_allows_nothing_and_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with asking(path, answering({"allow": True})) as one:
        write(path, f"http://127.0.0.1:{free_port()}/rights?token=hunter2")
        await one.routes.reload()
        caplog.clear()
        for _ in range(3):
            await unavailable(one.ask())
        assert [record.getMessage() for record in caplog.records] == [
            "the service of [authorize] does not answer as it should: no answer: ConnectionRefusedError"
        ]


async def test_it_answers_again_when_the_service_does(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with asking(path, answering({}, 500)) as one:
        await unavailable(one.ask())
        one.upstream.behave = answering({"allow": True})
        # A kept connection still has the bad behaviour.
        await asyncio.gather(*(suppressed(one.ask(room=f"order-{number}")) for number in range(5)))
        for user in ("bob", "carol", "dave"):
            assert await one.ask(user=user) == ALLOWED
        assert caplog.text.count("the service of [authorize] answers again") == 1


async def suppressed(question: Awaitable[Verdict]) -> None:
    with suppress(Unavailable):
        await question


async def test_a_failure_is_not_remembered(path: Path) -> None:
    answers: list[object] = [{"allow": "perhaps"}, {"allow": True}]
    async with asking(path, deciding(lambda _: answers.pop(0))) as one:
        await unavailable(one.ask())
        assert await one.ask() == ALLOWED


async def test_a_service_that_gives_no_answers_is_asked_less_and_then_again(path: Path) -> None:
    async with asking(path, hanging, "timeout_seconds = 0.05\n") as one:
        one.clock.stop()
        for number in range(5):
            await unavailable(one.ask(room=f"order-{number}"))
        assert not one.service.is_up
        for number in range(20):
            await unavailable(one.ask(room=f"order-{number}"))
        assert one.service.outcomes == {"timeout": 5, "open": 20}
        one.upstream.behave = answering({"allow": True})
        one.clock.ahead += 1
        assert await one.ask() == ALLOWED
        assert one.service.is_up
        assert await one.ask(room="order-2") == ALLOWED


async def test_a_wrong_answer_to_one_user_does_not_refuse_the_others(path: Path) -> None:
    def decide(question: dict[str, Any]) -> object:
        return {"allow": True} if question["user"] == "alice" else {"error": "a room with this name breaks me"}

    async with asking(path, deciding(decide)) as one:
        for number in range(50):
            await unavailable(one.ask(user="mallory", room=f"order-{number}"))
        assert one.service.is_up
        assert await one.ask() == ALLOWED
        assert len(one.questions) == 51


async def test_remembered_answers_count_while_the_service_is_down(path: Path) -> None:
    async with asking(path, answering({"allow": True, "for_seconds": 60}), "timeout_seconds = 0.05\n") as one:
        await one.ask()
        one.upstream.behave = hanging
        await asyncio.gather(*(suppressed(one.ask(room=f"order-{number}")) for number in range(2, 20)))
        assert not one.service.is_up
        assert await one.ask() == ALLOWED


async def test_all_that_share_a_question_are_refused_with_it(path: Path) -> None:
    async with asking(path, answering({"allow": "perhaps"})) as one:
        await asyncio.gather(*(unavailable(one.ask()) for _ in range(5)))
        assert len(one.questions) == 1


async def test_another_reading_of_the_file_forgets_all_answers(path: Path) -> None:
    async with asking(path, answering({"allow": True, "for_seconds": 600})) as one:
        await one.ask()
        await one.ask()
        assert len(one.questions) == 1
        await one.routes.reload()  # SIGHUP, and nothing has changed
        await one.ask()
        assert len(one.questions) == 2


async def test_the_service_can_be_replaced_while_it_is_asked(path: Path) -> None:
    release = asyncio.Event()

    async def behave(client: Conversation) -> None:
        await client.request()
        await release.wait()
        await client.answer({"allow": True, "for_seconds": 600})

    async with asking(path, behave) as one, running_upstream(answering({"allow": False})) as other:
        early = asyncio.create_task(one.ask())
        await until(lambda: one.questions)
        write(path, other.url)
        await one.routes.reload()
        assert await one.ask() == DENIED
        release.set()
        assert await early == ALLOWED
        # The old answer counts for its own message alone.
        assert await one.ask() == DENIED


async def test_no_connection_to_a_service_is_left_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "KEEP_ALIVE_SECONDS", 600)
    ended = 0

    async def behave(client: Conversation) -> None:
        nonlocal ended
        try:
            await deciding(lambda _: {"allow": True})(client)
        except (asyncio.IncompleteReadError, OSError):
            ended += 1

    async with asking(path, behave) as one:
        await one.ask()
        assert ended == 0
        await one.routes.reload()
        await one.ask()  # a new one, with a connection of its own
        await until(lambda: ended == 1)
        assert one.upstream.connections == 2
        await one.service.close()
        await until(lambda: ended == 2)


async def test_without_the_table_it_stops_asking(path: Path) -> None:
    async with asking(path, answering({"allow": False})) as one:
        assert await one.ask() == DENIED
        clear(path)
        await one.routes.reload()
        assert await one.ask() == ALLOWED


async def test_a_question_that_is_under_way_ends_with_the_gateway(path: Path) -> None:
    async with asking(path, hanging, "timeout_seconds = 10\n") as one:
        question = asyncio.create_task(one.ask())
        await until(lambda: one.questions)
    with pytest.raises(asyncio.CancelledError):
        await question
