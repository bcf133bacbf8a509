"""A service decides what users may do in rooms: each message that depends on it asks first, and nothing is open."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.gateway.auth.forging import ec_signer
from tests.support.client import App, ChatClient
from tests.support.issuer import running_service
from tests.support.metrics import metrics_of
from tests.support.upstreams import SECRET, Behaviour, Conversation, Upstream, answering, hanging, running_upstream

pytestmark = pytest.mark.both_stores

Question = tuple[str, str, str]
"""A user, an action and a room."""


@dataclass
class Rights:
    """A service that knows the rights of all users, and what it was asked."""

    answers: dict[Question, object] = field(default_factory=dict)
    usual: object = field(default_factory=lambda: {"allow": True})
    asked: list[Question] = field(default_factory=list)
    pause: float = 0
    open: int = 0
    most_at_once: int = 0

    async def __call__(self, client: Conversation) -> None:
        while True:
            given = (await client.request()).json
            question = given["user"], given["action"], given["room"]
            self.asked.append(question)
            self.open += 1
            self.most_at_once = max(self.most_at_once, self.open)
            await asyncio.sleep(self.pause)
            self.open -= 1
            await client.answer(self.answers.get(question, self.usual))


@dataclass
class World:
    """A gateway with a service of rights."""

    app: App
    upstream: Upstream
    path: Path
    rights: Rights


Worlds = Callable[..., Any]


@pytest.fixture
def world(own_gateway: OwnGateway, tmp_path: Path) -> Worlds:
    @asynccontextmanager
    async def make(behave: Behaviour | None = None, lines: str = "", **settings: Any) -> AsyncIterator[World]:
        rights = Rights()
        path = tmp_path / "routes.toml"
        async with running_upstream(behave or rights) as upstream:
            write(path, upstream.url, lines)
            async with App(own_gateway(routes=path, **settings)) as app:
                yield World(app, upstream, path, rights)

    return make


def write(path: Path, url: str, lines: str = "") -> None:
    path.write_text(f'[authorize]\nurl = "{url}"\nsecret = "{SECRET}"\n{lines}')


async def refused(client: ChatClient, status: int, type: str, **data: Any) -> str:
    error = await client.refused(type, **data)
    assert error["status"] == status, error
    text: str = error["message"]
    return text


async def test_a_user_without_a_right_is_refused_and_nothing_happens(
    world: Worlds, alice: str, bob: str, room: str
) -> None:
    async with world() as here, here.app.in_room(alice, room) as ann, here.app.connect(bob) as ben:
        rights = here.rights
        rights.answers = {(bob, "join", room): {"allow": False}, (bob, "create", f"{room}-2"): {"allow": False}}
        assert "`join`" in await refused(ben, 40300, "room.join", room=room)
        assert "`create`" in await refused(ben, 40300, "room.create", room=f"{room}-2")
        await refused(ben, 40400, "room.join", room=f"{room}-2")  # it would make the room
        await ann.expect_nothing()
        assert [member["user"] for member in (await ann.ask("room.members", room=room))["members"]] == [alice]

        del rights.answers[bob, "join", room]
        rights.answers[bob, "send", room] = {"allow": False}
        await ben.ask("room.join", room=room)
        await ann.expect("room.joined", user=bob)
        assert "`send`" in await refused(ben, 40300, "chat.send", room=room, text="hello")
        await refused(ben, 40300, "chat.typing", room=room)
        await refused(ben, 40300, "room.signal", room=room, name="wave")
        await refused(ben, 40300, "presence.set", room=room, state={"in_call": True})
        await ann.expect_nothing()


async def test_only_some_rooms_and_actions_are_asked_about(world: Worlds, alice: str, room: str) -> None:
    lines = f'actions = ["join"]\nrooms = ["{room}-*"]\n'
    async with world(lines=lines) as here, here.app.in_room(alice, room) as client:
        await client.say(room, "hello")
        assert here.rights.asked == []
        await client.ask("room.join", room=f"{room}-1")
        assert here.rights.asked == [(alice, "join", f"{room}-1")]


async def test_a_remembered_answer_needs_no_request_until_it_ends(world: Worlds, alice: str, room: str) -> None:
    async with world() as here, here.app.in_room(alice, room) as client:
        clock = here.app.gateway.clock
        clock.stop()
        here.rights.usual = {"allow": True, "for_seconds": 60}
        here.rights.asked.clear()
        for number in range(5):
            await client.say(room, str(number))
        assert here.rights.asked == [(alice, "send", room)]
        here.rights.usual = {"allow": False, "for_seconds": 60}
        clock.ahead += 60
        for _ in range(3):
            await refused(client, 40300, "chat.send", room=room, text="late")
        assert len(here.rights.asked) == 2
        counted = await metrics_of(here.app)
        assert counted['gateway_authorize_questions_total{outcome="remembered"}'] == 6
        assert counted['gateway_authorize_questions_total{outcome="denied"}'] == 1
        assert counted["gateway_authorize_remembered"] == 1


@pytest.mark.parametrize(
    "behave", [hanging, answering({"allow": "yes"}), answering({}, 500)], ids=["hangs", "lies", "500"]
)
async def test_without_an_answer_the_message_is_refused_and_the_connection_lives(
    world: Worlds, alice: str, room: str, behave: Behaviour
) -> None:
    async with world(behave, "timeout_seconds = 0.1\n") as here, here.app.connect(alice) as client:
        for type, data in (("room.join", {}), ("room.create", {}), ("chat.send", {"text": "x"}), ("chat.history", {})):
            error = await client.refused(type, room=room, **data)
            assert (error["status"], error["retryable"]) == (50300, True)
        await client.expect_nothing()
        assert (await client.ask("room.list"))["rooms"] == []


async def test_a_slow_service_holds_up_its_connection_for_a_second_and_no_other(
    world: Worlds, alice: str, bob: str, room: str
) -> None:
    lines = f'rooms = ["{room}-slow"]\n'
    async with world(hanging, lines) as here, here.app.in_room(bob, room) as ben, here.app.connect(alice) as ann:
        before = time.monotonic()
        await ann.start("room.join", room=f"{room}-slow")
        for number in range(20):
            await ben.say(room, str(number))
        assert time.monotonic() - before < 1
        await ann.expect("error", status=50300)
        assert 0.9 < time.monotonic() - before < 3


async def test_a_resume_asks_about_all_of_its_rooms_at_once(world: Worlds, alice: str, room: str) -> None:
    async with world(lines="timeout_seconds = 10\n", max_rooms_per_connection=128) as here:
        names = [f"{room}-{number}" for number in range(128)]
        async with here.app.connect(alice) as client:
            await resume_all(client, names)
        here.rights.asked.clear()
        here.rights.pause = 0.05
        here.rights.most_at_once = 0
        here.rights.answers = {(alice, "join", names[5]): {"allow": False}, (alice, "join", names[90]): {"allow": 1}}
        async with here.app.connect(alice) as client:
            answers = await resume_all(client, names)
        assert here.rights.most_at_once > 8
        assert answers[names[5]]["error"]["status"] == 40300
        assert answers[names[90]]["error"]["status"] == 50300
        good = [name for name, answer in answers.items() if "error" not in answer]
        assert len(good) == 126
        assert {room for _, _, room in here.rights.asked} == set(names)


async def resume_all(client: ChatClient, names: list[str]) -> dict[str, Any]:
    """Resume rooms, in as many messages as it takes."""
    answers: dict[str, Any] = {}
    left = names
    while left:
        number = await client.start("room.resume", rooms=[{"room": name} for name in left])
        reply = await client.until(id=number)
        assert reply["type"] == "reply", reply
        found = reply["data"]["rooms"]
        answers |= {each["room"]: each for each in found}
        left = left[len(found) :]
    return answers


async def test_calls_over_http_ask_as_well(world: Worlds, alice: str, room: str) -> None:
    async with world() as here:
        token = await here.app.token(alice)

        async def call(type: str, **data: Any) -> tuple[int, int]:
            response = await here.app.ask("POST", f"/call/{type}", token, json={"room": room, **data})
            return response.status_code, response.json().get("status", 0)

        assert await call("room.join") == (200, 0)
        assert await call("chat.send", text="hello") == (200, 0)
        here.rights.usual = {"allow": False}
        assert await call("chat.send", text="hello") == (403, 40300)
        assert await call("chat.history") == (403, 40300)
        here.rights.usual = {}
        assert await call("chat.send", text="hello") == (503, 50300)
        assert [action for _, action, _ in here.rights.asked] == ["join", "create", "send", "send", "join", "send"]


async def test_claims_of_the_list_go_out_and_the_token_never(world: Worlds, alice: str, room: str) -> None:
    async with world(lines='claims = ["sub", "scope", "nope"]\n') as here, here.app.in_room(alice, room):
        first = here.upstream.requests[0]
        assert first.json["claims"].keys() == {"sub", "scope"}
        token = await here.app.token(alice)
        assert token.split(".")[2] not in first.head.decode() + first.body.decode()
        assert "authorization" not in first.headers


async def test_claims_of_another_service_go_out_also_after_its_credential_is_renewed(
    world: Worlds, room: str, tmp_path: Path
) -> None:
    signer = ec_signer("first")
    with running_service() as issuer:
        issuer.keys = [signer.jwk()]
        trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"}
        async with world(lines='claims = ["email", "plan"]\n', issuers={"acme": trusted}) as here:
            token = issuer.token(signer, email="carol@example.com", plan={"name": "gold"}, phone="hunter2")
            async with here.app.socket(f"?service=acme&token={token}") as client:
                await client.expect("welcome")
                await client.ask("room.join", room=room)
                renewed = issuer.token(signer, email="carol@example.com", plan={"name": "silver"})
                await client.ask("auth.refresh", token=renewed)
                await client.say(room, "hello")
            first, *_, last = [request.json["claims"] for request in here.upstream.requests]
            assert first == {"email": "carol@example.com", "plan": {"name": "gold"}}
            assert last == {"email": "carol@example.com", "plan": {"name": "silver"}}


async def test_a_changed_file_counts_for_the_next_message(world: Worlds, alice: str, room: str) -> None:
    async with world(lines='actions = ["send"]\n') as here, here.app.in_room(alice, room) as client:
        here.rights.usual = {"allow": True, "for_seconds": 600}
        await client.say(room, "hello")
        here.rights.usual = {"allow": False, "for_seconds": 600}
        await client.say(room, "remembered")
        await here.app.gateway.run(here.app.gateway.state.routes.reload())
        await refused(client, 40300, "chat.send", room=room, text="too late")
        write(here.path, here.upstream.url, 'actions = ["create"]\n')
        await here.app.gateway.run(here.app.gateway.state.routes.reload())
        await client.say(room, "free again")


async def test_a_service_that_is_the_gateway_itself_is_asked_once_and_allows_nothing(
    world: Worlds, alice: str, room: str
) -> None:
    async with world() as here, here.app.connect(alice) as client:
        gateway = here.app.gateway
        for path in ("/call/room.join", "/api/publish", "/hook/gwk_0123456789abcdef_x", "/token", "/nowhere"):
            # The file cannot show it: behind a proxy, the gateway has other names.
            write(here.path, f"{gateway.url}{path}")
            await gateway.run(gateway.state.routes.reload())
            await refused(client, 50300, "room.join", room=room)
            assert gateway.state.authorize is not None
        assert gateway.state.authorize.outcomes == {"wrong": 5}
        await client.expect_nothing()


async def test_a_service_that_gives_no_answers_shows_in_readiness(world: Worlds, alice: str, room: str) -> None:
    async with world(hanging, "timeout_seconds = 0.05\n") as here, here.app.connect(alice) as client:
        assert (await here.app.http.get("/readyz")).json()["upstreams"] == "up"
        for _ in range(6):
            await refused(client, 50300, "room.join", room=room)
        response = await here.app.http.get("/readyz")
        assert (response.status_code, response.json()["upstreams"]) == (200, "degraded")
        assert (await metrics_of(here.app))['gateway_authorize_questions_total{outcome="open"}'] == 1
