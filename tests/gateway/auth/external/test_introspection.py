"""Tokens that an external service checks: only tokens that it calls active are good, and only as long as it says."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.external.users import external_user_id
from gateway.chat.session import ChatSession
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.issuer import FakeService, basic, running_service
from tests.support.services import add_service
from tests.support.waiting import until

TOKEN = "opaque.Token~of+20/characters=="
SECRET = "s3cret & the rest"

Start = Callable[..., Gateway]


@pytest.fixture
def service() -> Iterator[FakeService]:
    with running_service() as service:
        service.tokens[TOKEN] = active()
        yield service


@pytest.fixture
def start(own_gateway: OwnGateway, service: FakeService) -> Start:
    """Start a gateway that introspects tokens at the service: `start(issuer=…, any=gateway setting)`."""

    def start(settings: dict[str, Any] | None = None, **described: Any) -> Gateway:
        legacy = {"url": f"{service.url}/introspect", "client_id": "chat:1", "client_secret": SECRET} | described
        return own_gateway(introspection={"legacy": legacy}, **(settings or {}))

    return start


def active(**changes: Any) -> dict[str, Any]:
    answer = {"active": True, "sub": "7", "username": "carol", "exp": int(time.time()) + 600, "scope": "chat"} | changes
    return {name: value for name, value in answer.items() if value is not ...}


async def welcomed(app: App, token: str = TOKEN) -> dict[str, Any]:
    async with app.socket("?service=legacy", additional_headers={"Authorization": f"Bearer {token}"}) as client:
        return await client.expect("welcome")


async def refused(app: App, token: str = TOKEN, status: int = 40001) -> str:
    async with app.socket("?service=legacy", additional_headers={"Authorization": f"Bearer {token}"}) as client:
        error = await client.expect("error", status=status)
        bye = await client.expect("bye")
        await client.expect_close(bye["code"], bye["reason"])
        assert bye["code"] == (1013 if status == 50300 else 1008)
        message: str = error["message"]
        return message


async def test_the_service_is_asked_as_the_standard_says_and_its_user_comes_in(
    start: Start, service: FakeService
) -> None:
    async with App(start(scopes={"chat": ["chat:read"]})) as app:
        welcome = await welcomed(app)
        assert (welcome["user"], welcome["scopes"]) == ("carol", ["chat:read"])
        [(path, headers, form)] = service.asked
        assert path == "/introspect"
        assert form == {"token": TOKEN, "token_type_hint": "access_token"}
        assert headers["content-type"] == "application/x-www-form-urlencoded"
        assert headers["authorization"] == basic("chat%3A1", "s3cret+%26+the+rest")


async def test_an_answer_names_rooms_and_what_upstream_services_may_learn(
    start: Start, service: FakeService, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text("scopes = []")
    answer = service.tokens[TOKEN] = active(rooms={"team-*": ["join", "create"]}, email="carol@example.com")
    gateway = start({"routes": routes}, rooms_claim="rooms")
    async with App(gateway) as app:
        bought = await app.ask("POST", "/ws/ticket?service=legacy", TOKEN)
        for query in ("?service=legacy", f"?ticket={bought.json()['ticket']}"):
            options = {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}} if "service" in query else {}
            async with app.socket(query, **options) as carol:
                await carol.expect("welcome")
                await carol.ask("room.join", room="team-red")
                assert (await carol.refused("room.join", room="lobby"))["status"] == 40300
                (session,) = gateway.state.connections.for_user(external_user_id("legacy", "7"))
                assert isinstance(session, ChatSession)
                assert session.claims == answer


async def test_claims_are_not_kept_where_no_upstream_service_is_set(start: Start, service: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        async with app.socket("?service=legacy", additional_headers={"Authorization": f"Bearer {TOKEN}"}) as carol:
            await carol.expect("welcome")
            (session,) = gateway.state.connections.for_user(external_user_id("legacy", "7"))
            assert isinstance(session, ChatSession)
            assert session.claims is None


async def test_an_answer_is_remembered_for_a_few_seconds_and_no_longer(start: Start, service: FakeService) -> None:
    gateway = start()
    async with App(gateway) as app:
        for _ in range(3):
            await welcomed(app)
            await refused(app, "unknown")
        assert service.times("/introspect") == 2
        service.tokens[TOKEN] = {"active": False}
        gateway.clock.ahead = 4
        await welcomed(app)
        gateway.clock.ahead = 5.1
        await refused(app)
        assert service.times("/introspect") == 3


async def test_a_token_that_ends_is_out_even_if_the_answer_is_remembered(start: Start, service: FakeService) -> None:
    service.tokens[TOKEN] = active(exp=int(time.time()) + 3)
    gateway = start()
    async with App(gateway) as app:
        await welcomed(app)
        gateway.clock.ahead = 4
        await refused(app, status=40101)
        assert service.times("/introspect") == 1


async def test_without_an_end_a_token_is_asked_about_again_after_one_of_ours_would_have_ended(
    start: Start, service: FakeService
) -> None:
    service.tokens[TOKEN] = active(exp=...)
    async with App(start()) as app:
        expires = (await welcomed(app))["token_expires_at"]
        assert expires <= time.strftime("%Y-%m-%dT%H:%M:%S.999Z", time.gmtime(time.time() + 900))


INACTIVE: dict[str, dict[str, Any]] = {
    "inactive": {"active": False},
    "nothing said": {},
    "active in words": active(active="true"),
    "active as a number": active(active=1),
    "nobody's": active(sub=...),
    "a number's": active(sub=7),
    "not yet": active(nbf=int(time.time()) + 3600),
    "an end that is text": active(exp="4000000000"),
    "an end beyond time": active(exp=10**18),
    "another issuer's": active(iss="https://evil.example/"),
    "for another audience": active(aud=["other"]),
    "an audience that is a number": active(aud=7),
}


async def test_what_is_not_plainly_active_and_meant_for_us_is_refused(start: Start, service: FakeService) -> None:
    right = {"iss": "https://login.example/", "aud": "chat"}
    async with App(start(issuer=right["iss"], audience="chat")) as app:
        service.tokens["good"] = active(**right)
        await welcomed(app, "good")
        for name, answer in INACTIVE.items():
            token = name.replace(" ", "-").replace("'", "-")
            service.tokens[token] = (right | answer) if answer else answer
            assert await refused(app, token) == (
                "the token is not valid for this service; log in there for a new one"
            ), name
        service.tokens["ended"] = active(**right, exp=int(time.time()) - 1)
        await refused(app, "ended", 40101)


async def test_what_cannot_be_a_token_is_not_asked_about(start: Start, service: FakeService) -> None:
    async with App(start()) as app:
        for text in ("a b", "x" * 4097, "=", 'a"b', "a&b"):
            await refused(app, text)
        async with app.socket("?service=legacy&token=%00%C3%A4") as client:
            await client.expect("error", status=40001)
        assert service.asked == []


TROUBLE: dict[str, dict[str, Any]] = {
    "our own credentials refused": {"status": 401},
    "an error": {"status": 500},
    "moved elsewhere": {"status": 307, "headers": {"location": "/other"}},
    "a page": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "huge": {"body": b'{"active": true, "sub": "' + b"x" * 100_000 + b'"}'},
    "deep": {"body": b'{"active": ' + b"[" * 5000},
    "twice active": {"body": b'{"active": false, "active": true, "sub": "7", "username": "carol"}'},
    "hanging": {"hanging": True},
}


async def test_while_the_service_does_not_answer_all_are_refused_and_told_to_try_again(
    start: Start, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    async with App(start(settings={"outside_timeout_seconds": 1})) as app:
        for name, answer in TROUBLE.items():
            service.body, service.status, service.headers, service.hanging = None, 200, {}, False
            for attribute, value in answer.items():
                setattr(service, attribute, value)
            assert await refused(app, status=50300) == "the service `legacy` cannot be asked for now; try again", name
        service.body, service.status, service.headers, service.hanging = None, 200, {}, False
        await welcomed(app)
    assert {path for path, _, _ in service.asked} == {"/introspect"}
    [warning] = [
        record.getMessage() for record in caplog.records if "cannot be asked about tokens" in record.getMessage()
    ]
    assert warning.endswith("expected status 200, got 401")
    mine = [record for record in caplog.records if not record.name.startswith("websockets")]
    assert [record for record in mine if record.exc_info] == []
    assert [record for record in mine if TOKEN in record.getMessage() or "s3cret" in record.getMessage()] == []


async def test_of_a_hundred_questions_twenty_are_asked_at_a_time_and_no_other_client_is_slowed(
    start: Start, service: FakeService
) -> None:
    async with App(start()) as app:
        own = await app.token("alice")
        service.hanging = True
        waiting = [asyncio.create_task(refused(app, f"token-{number}")) for number in range(100)]
        await until(lambda: service.times("/introspect") == 20)
        async with app.socket(f"?token={own}") as client:
            await client.expect("welcome")
        assert not any(task.done() for task in waiting)
        assert service.times("/introspect") == 20
        service.hanging = False
        await asyncio.gather(*waiting)
        assert service.times("/introspect") == 100


def test_a_secret_of_a_service_is_shown_nowhere(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = start()
    assert "s3cret" not in repr(gateway.settings)
    assert "s3cret" not in caplog.text


async def test_no_key_of_a_service_of_ours_leaves_for_another_service(start: Start, service: FakeService) -> None:
    gateway = start()
    key = await add_service(gateway, "orders", "server")
    async with App(gateway) as app:
        assert "this is for users" in await refused(app, key, 40300)
        bought = await app.ask("POST", "/ws/ticket?service=legacy", key)
        assert (bought.status_code, bought.json()["status"]) == (403, 40300)
    assert service.asked == []


async def test_a_gateway_introspects_the_tokens_of_another_gateway(own_gateway: OwnGateway, tmp_path: Path) -> None:
    first = own_gateway()
    key = await add_service(first, "second", "server")
    asks = {"url": f"{first.url}/token/introspect", "client_id": "second", "client_secret": key}
    second = own_gateway(database_url=f"sqlite:///{tmp_path / 'second.db'}", introspection={"first": asks})
    async with App(first) as there, App(second) as here:
        token = await there.token("alice")
        async with here.socket(f"?service=first&token={token}") as client:
            await client.expect("welcome", user="alice")
        await there.http.post("/token/revoke", data={"token": token})
        async with here.socket(f"?service=first&token={await there.token('bob')}") as client:
            await client.expect("welcome", user="bob")
        async with here.socket(f"?service=first&token={key}") as client:
            await client.expect("error", status=40300)
