"""The token: renewed in time by the gateway's clock, asked for once at a time, and twice at most after a refusal."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import pytest

from gateway_client import Lost, NoToken, Reconnect, TokenRequest, connect
from gateway_client.clock import Clock, GatewayTime
from tests.clients.python.scripted import HASTY, Visit, client_of, scripted
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server


class MovableClock(Clock):
    """The client's clock. It is two hours off, and the machine can sleep."""

    def __init__(self, off: float = 7200.0) -> None:
        self.ahead = off
        super().__init__()

    def wall(self) -> float:
        return time.time() + self.ahead


class Tokens:
    """A source of tokens that counts."""

    def __init__(self, *answers: Any) -> None:
        self.requests: list[TokenRequest] = []
        self.answers = list(answers)

    async def __call__(self, request: TokenRequest) -> str:
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    @property
    def reasons(self) -> list[str]:
        return [request.reason for request in self.requests]


async def test_a_machine_that_sleeps_longer_than_its_token_comes_back_with_a_new_one(
    own_gateway: OwnGateway, alice: str
) -> None:
    gateway = own_gateway()
    clock = MovableClock()
    async with App(gateway) as app, asyncio.timeout(20):
        tokens: list[str] = []

        async def get_token(request: TokenRequest) -> str:
            asked.append(request.reason)
            tokens.append(await app.token(alice))
            return tokens[-1]

        asked: list[str] = []
        async with connect(gateway.url, get_token=get_token, clock=clock, times=HASTY) as client:
            assert asked == ["connect"]
            connection = client.welcome
            # Both clocks go on, and the client's differs by two hours all the time. The gateway has closed meanwhile.
            gateway.clock.ahead += 3600
            clock.ahead += 3600
            await until(lambda: client.welcome is not connection and client.state == "open")
            assert await client.call("echo", {"n": 1}) == {"n": 1}
        assert set(asked[1:]) <= {"connect", "refused"}
        assert len(asked) == 2
        assert tokens[0] != tokens[1]


async def test_a_token_is_renewed_before_a_reconnect_if_it_ends_within_a_minute_of_the_gateways_time() -> None:
    async def script(visit: Visit) -> None:
        # The gateway's time is years away from the client's.
        await visit.welcome(server_time="2031-01-01T00:00:00.000Z", token_expires_at=ends[visit.number - 1])
        if visit.number < len(ends):
            await visit.reply(await visit.expect("echo"))
            visit.drop()
        await visit.serve()

    ends = ["2031-01-01T00:01:05.000Z", "2031-01-01T00:00:59.000Z", "2031-01-01T00:10:00.000Z"]
    tokens = Tokens("token-1", "token-2")
    async with scripted(script) as server, client_of(server, token=None, get_token=tokens) as gateway:
        for number in (1, 2):
            await gateway.call("echo", {})
            await until(lambda number=number: len(server.visits) == number + 1)  # type: ignore[misc]
        await gateway.opened()
    assert tokens.reasons == ["connect", "connect"]
    assert [visit.token for visit in server.visits] == ["token-1", "token-1", "token-2"]


async def test_a_token_that_ends_is_replaced_on_the_open_connection() -> None:
    refreshed: list[str] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        for _ in range(2):
            await visit.send("token.expiring", data={"token_expires_at": "2026-11-20T23:21:08.000Z"})
        message = await visit.expect("auth.refresh")
        refreshed.append(message["data"]["token"])
        await visit.reply(message, {"token_expires_at": "2026-11-20T23:50:08.000Z", "scopes": []})
        await visit.serve()

    tokens = Tokens("token-1", "token-2", "token-3")
    async with scripted(script) as server, client_of(server, token=None, get_token=tokens) as gateway:
        await until(lambda: refreshed == ["token-2"])
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
    assert tokens.reasons == ["connect", "expiring"]
    assert len(server.visits) == 1


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        (["token-1", "token-1"], []),
        (["token-1", OSError("no network"), "token-2"], ["token-2"]),
        (["token-1", "refused-2", "refused-3", "token-4"], ["refused-2", "refused-3"]),
        (["token-1", "refused-2", "refused-2", "token-4"], ["refused-2"]),
        (["token-1", 7, "two words", "token-4"], []),
    ],
    ids=["the old one again", "an error first", "two that are refused", "one refused twice", "nonsense"],
)
async def test_a_source_that_fails_while_connected_is_asked_twice_at_most(
    answers: list[Any], sent: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.send("token.expiring", data={})
        while True:
            message = await visit.next()
            if message["type"] != "auth.refresh":
                await visit.reply(message, message["data"])
                continue
            seen.append(message["data"]["token"])
            if seen[-1].startswith("token"):
                await visit.reply(message, {"token_expires_at": "2026-11-20T23:50:08.000Z", "scopes": []})
            else:
                await visit.refuse(message, 40001)

    tokens = Tokens(*answers)
    async with scripted(script) as server, client_of(server, token=None, get_token=tokens) as gateway:
        await until(lambda: len(tokens.requests) == 3 or (len(seen) == 1 and seen[0] == "token-2"))
        await until(lambda: len(seen) >= len(sent))
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
        assert gateway.state == "open"
    assert seen == sent
    assert tokens.reasons[0] == "connect"
    assert tokens.reasons[1] == "expiring"
    assert len(tokens.requests) <= 3
    assert "there is no new one yet" in caplog.text


async def refuse_first(visit: Visit, good: str) -> None:
    if visit.token != good:
        await visit.send("error", id=None, status=40101, name="token_expired", message="the token has expired")
        await visit.bye(1008, "token_expired", "new_credential")
        return
    await visit.welcome()
    await visit.serve()


async def test_a_refused_token_is_replaced_by_one_request_for_all_callers() -> None:
    tokens = Tokens("old", "good")
    async with scripted(lambda visit: refuse_first(visit, "good")) as server:
        gateway = client_of(server, token=None, get_token=tokens)
        async with gateway, asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(gateway.call("echo", {}))
    assert [(each.reason, each.previous) for each in tokens.requests] == [("connect", None), ("refused", "old")]
    assert [visit.token for visit in server.visits] == ["old", "good"]


@pytest.mark.parametrize(
    ("answers", "tried", "words"),
    [
        (["a", "b", "c", "d"], ["a", "b", "c"], "get_token has brought no better one"),
        (["a", "a", "a", "d"], ["a"], "get_token has brought no better one"),
        (["a", "b", "b", "d"], ["a", "b"], "get_token has brought no better one"),
        (["a", NoToken("please log in")], ["a"], "please log in"),
    ],
)
async def test_after_two_more_refusals_in_a_row_the_client_closes_with_the_reason(
    answers: list[Any], tried: list[str], words: str
) -> None:
    tokens = Tokens(*answers)
    async with scripted(lambda visit: refuse_first(visit, "good")) as server:
        with pytest.raises(Lost, match=words) as lost:
            await client_of(server, token=None, get_token=tokens).__aenter__()
    assert "token_expired: the token has expired" in str(lost.value)
    assert (lost.value.final, lost.value.reconnect) == (True, Reconnect.NEW_CREDENTIAL)
    assert [visit.token for visit in server.visits] == tried
    assert len(tokens.requests) <= 3


async def test_a_plain_token_lasts_as_long_as_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.send("token.expiring", data={})
        await visit.reply(await visit.expect("echo"))
        await visit.bye(4410, "token_expired", "new_credential")

    async with scripted(script) as server, client_of(server) as gateway:
        await gateway.call("echo", {})
        await until(lambda: gateway.state == "closed")
        with pytest.raises(
            Lost, match=r"\(token_expired\); the gateway has refused the token, and there is no get_token"
        ):
            await gateway.call("echo", {})
    assert len(server.visits) == 1
    assert "there is no get_token= for another one" in caplog.text


async def test_a_source_that_fails_or_hangs_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    async def get_token(_: TokenRequest) -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the network is down")
        if asked == 2:
            await asyncio.Event().wait()
        return "token-1"

    async with scripted(lambda visit: refuse_first(visit, "token-1")) as server:
        async with client_of(server, token=None, get_token=get_token) as gateway:
            assert gateway.state == "open"
        failing = Tokens(OSError("the network is down"))
        with pytest.raises(Lost, match=r"OSError: the network is down\); gave up after 0\.1 s") as lost:
            await client_of(server, token=None, get_token=failing, open_timeout=0.1).__aenter__()
    assert asked == 3
    assert "get_token has failed (OSError: the network is down)" in caplog.text
    assert "get_token has not answered within 0.6 s" in caplog.text
    assert isinstance(lost.value.__cause__, Lost)


async def test_an_error_of_the_source_is_shown_as_it_is_and_the_token_never() -> None:
    fault = TimeoutError("the log-in took 5 s")
    async with scripted(lambda visit: visit.serve()) as server:
        with pytest.raises(Lost, match=r"failed \(TimeoutError: the log-in took 5 s\)") as lost:
            await client_of(server, token=None, get_token=Tokens(fault), open_timeout=0.1).__aenter__()
        assert isinstance(lost.value.__cause__, Lost)
        assert lost.value.__cause__.__cause__.__cause__ is fault  # type: ignore[union-attr]
    assert "sesame" not in repr(TokenRequest("expiring", "sesame"))


async def test_no_token_is_in_the_log_of_the_socket(caplog: pytest.LogCaptureFixture) -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.serve()

    caplog.set_level(logging.DEBUG)
    quiet = logging.getLogger("server")
    quiet.setLevel(logging.INFO)
    async with scripted(script, logger=quiet) as server, client_of(server, token="sesame") as gateway:
        await gateway.call("echo", {})
    assert "sesame" not in caplog.text


async def test_a_token_of_another_user_changes_nothing_and_is_not_used_later() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome(user=visit.token)
        if visit.number == 1:
            await visit.send("token.expiring", data={"token_expires_at": "2026-11-20T23:35:08.000Z"})
            await visit.refuse(await visit.expect("auth.refresh"), 40300)
            await visit.reply(await visit.expect("echo"))
            visit.drop()
        await visit.serve()

    tokens = Tokens("alice", "bob", RuntimeError("later"), "alice")
    async with scripted(script) as server:
        async with client_of(server, token=None, get_token=tokens) as gateway:
            await until(lambda: len(tokens.requests) == 3)
            await gateway.call("echo", {})
            await until(lambda: len(server.visits) == 2)
            await gateway.opened()
    assert [visit.token for visit in server.visits] == ["alice", "alice"]


async def test_a_connection_of_another_user_is_the_end() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome(user="alice" if visit.number == 1 else "bob")
        if visit.number == 1:
            await visit.next()
            visit.drop()
        messages.append(await visit.next())

    messages: list[Any] = []
    async with scripted(script) as server, client_of(server) as gateway:
        with pytest.raises(Lost, match="the token is of bob, and this client is of alice; make another client") as lost:
            await gateway.call("chat.send", {"room": "lobby", "text": "I am Alice"})
        assert lost.value.final
    assert messages == []


async def test_leaving_ends_a_request_for_a_token_also_if_the_leaving_is_cancelled() -> None:
    async def get_token(request: TokenRequest) -> str:
        if request.previous is None:
            return "token-1"
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(request.reason)
        return "token-2"

    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.expect("ping")
        await visit.bye(4410, "token_expired", "new_credential")

    ended: list[str] = []
    async with scripted(script) as server:
        gateway = client_of(server, token=None, get_token=get_token, times=replace(HASTY, token=30))
        await gateway.__aenter__()
        with pytest.raises(Lost):
            await gateway.call("ping")
        await until(lambda: any(task.get_name() == "gateway_client token" for task in asyncio.all_tasks()))
        leaving = asyncio.create_task(gateway.close())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert ended == ["refused"]


async def test_a_client_that_was_cancelled_from_outside_leaves_no_caller_waiting() -> None:
    async def get_token(_: TokenRequest) -> str:
        if not asked:
            asked.append(1)
            raise asyncio.CancelledError
        return "token-1"

    asked: list[int] = []
    async with scripted(lambda visit: refuse_first(visit, "token-1")) as server:
        async with client_of(server, token=None, get_token=get_token) as gateway:
            call = asyncio.create_task(gateway.call("echo", {}))
            events = gateway.events("x")
            for task in asyncio.all_tasks():
                if task.get_name() == "gateway_client":
                    task.cancel()
            await asyncio.gather(call, return_exceptions=True)
            with pytest.raises(Lost, match="was cancelled"):
                await gateway.call("echo", {})
            with pytest.raises(Lost, match="was cancelled"):
                await anext(events)


def test_a_sync_source_and_a_clock_that_was_set_are_fine() -> None:
    clock = MovableClock(0)
    then = GatewayTime(clock, "2026-11-20T23:20:08.785Z")
    assert 59 < then.seconds_until("2026-11-20T23:21:08.785Z") <= 60
    clock.ahead += 30  # the machine slept
    assert 29 < then.seconds_until("2026-11-20T23:21:08.785Z") <= 30
    clock.ahead -= 7200  # the machine's time was set back
    assert 29 < then.seconds_until("2026-11-20T23:21:08.785Z") <= 30
    assert 29 < then.seconds_until("2026-11-20T23:21:08") <= 30  # a time without a zone is one of UTC
    with pytest.raises(ValueError, match="Invalid"):
        then.seconds_until("soon")
