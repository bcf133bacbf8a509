"""An application's own checks of credentials: they name a user, and the gateway does the rest."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.auth.external.app_authorizers import Identity
from gateway.core.start_error import StartError
from gateway.testing import settings_for_tests
from handlers.errors import AuthenticationFailed, Unavailable
from tests.conftest import OwnGateway
from tests.support.client import App, Frame

SURROGATE = "\ud800"


class MyAuthorizer:
    """Takes the credential `good-<name>`, and what a test has prepared."""

    def __init__(self, **prepared: Identity | Exception) -> None:
        self.prepared = prepared

    async def authorize(self, token: str) -> Any:
        """Return the user of a credential, or raise."""
        if token.startswith("good-"):
            return Identity(token.removeprefix("good-"))
        if token == "slow":
            await asyncio.sleep(60)
        found = self.prepared.get(token, AuthenticationFailed("no such credential"))
        if isinstance(found, Exception):
            raise found
        return found


async def refused(app: App, token: str) -> Frame:
    async with app.socket(f"?service=mine&token={token}") as client:
        error = await client.expect("error")
        await client.expect("bye")
        return error


async def test_a_user_of_an_own_check_may_do_what_every_user_may(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(authorizers={"mine": MyAuthorizer()}, default_scopes="chat:read rooms:manage chat:write")
    async with App(gateway) as app, app.socket("?service=mine&token=good-Carol") as carol:
        welcome = await carol.expect("welcome", user="carol")
        assert welcome["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
        await carol.ask("room.join", room="lobby")
        await carol.say("lobby", "hello")
    async with App(gateway) as app, app.socket("?service=mine") as carol:  # as a first message, too
        await carol.send({"type": "auth", "data": {"token": "good-carol"}})
        await carol.expect("welcome", user="carol")


async def test_a_user_with_a_sign_that_looks_like_a_capital_is_another_user(own_gateway: OwnGateway) -> None:
    kelvin = Identity("\u212aarol@example.com")
    async with App(own_gateway(authorizers={"mine": MyAuthorizer(kelvin=kelvin)})) as app:
        async with app.socket("?service=mine&token=good-Karol@example.com") as karol:
            await karol.expect("welcome", user="karol_example.com")
        async with app.socket("?service=mine&token=kelvin") as other:
            assert (await other.expect("welcome"))["user"].startswith("karol-")


async def test_a_ticket_and_a_refresh_work_as_for_every_service(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(authorizers={"mine": MyAuthorizer()})
    async with App(gateway) as app:
        bought = await app.ask("POST", "/ws/ticket?service=mine", "good-carol")
        async with app.socket(f"?ticket={bought.json()['ticket']}") as carol:
            await carol.expect("welcome", user="carol")
            await carol.ask("auth.refresh", token="good-carol")
            assert (await carol.refused("auth.refresh", token="good-dave"))["status"] == 40300


async def test_what_an_identity_says_counts(own_gateway: OwnGateway) -> None:
    until = 4_000_000_000.0
    identity = Identity("carol", subject="7", scopes=frozenset({"chat:read"}), expires_at=until)
    check = MyAuthorizer(a=identity, b=Identity("dave", subject="7"), old=Identity("erin", expires_at=1))
    gateway = own_gateway(authorizers={"mine": check})
    async with App(gateway) as app:
        async with app.socket("?service=mine&token=a") as carol:
            assert (await carol.expect("welcome", user="carol"))["scopes"] == ["chat:read"]
        async with app.socket("?service=mine&token=b") as carol:
            await carol.expect("welcome", user="carol")  # the subject is the user; the name stays
        assert (await refused(app, "old"))["status"] == 40101


async def test_an_own_check_says_what_is_allowed_in_which_rooms(own_gateway: OwnGateway) -> None:
    rooms = {"team-*": {"join", "send", "create"}, "news": ("join",)}
    gateway = own_gateway(authorizers={"mine": MyAuthorizer(a=Identity("carol", rooms=rooms))})
    async with App(gateway) as app, app.in_room("alice", "news"):
        async with app.socket("?service=mine&token=a") as carol:
            await carol.expect("welcome", user="carol")
            await carol.ask("room.join", room="team-red")
            await carol.say("team-red", "hello")
            await carol.ask("room.join", room="news")
            assert (await carol.refused("chat.send", room="news", text="no"))["status"] == 40300
            assert (await carol.refused("room.create", room="lobby"))["status"] == 40300


async def test_a_text_that_is_no_name_becomes_one(own_gateway: OwnGateway) -> None:
    texts = ("c", "../carol", "carol\n", "x" * 33, "çarol", "carol@my_host", "\x00abc", SURROGATE)
    check = MyAuthorizer(**{f"odd-{number}": Identity(text, subject=f"{number}") for number, text in enumerate(texts)})
    gateway = own_gateway(authorizers={"mine": check})
    names = set()
    async with App(gateway) as app:
        for number in range(len(texts)):
            async with app.socket(f"?service=mine&token=odd-{number}") as client:
                names.add((await client.expect("welcome"))["user"])
    assert len(names) == len(texts)
    assert all(re.fullmatch(r"(c|carol|x{15}|abc|mine)-[0-9a-f]{16}", name) for name in names), names


async def test_without_a_name_a_user_is_refused_in_plain_words(own_gateway: OwnGateway) -> None:
    check = MyAuthorizer(nameless=Identity("", subject="7"), same=Identity(SURROGATE))
    async with App(own_gateway(authorizers={"mine": check})) as app:
        error = await refused(app, "nameless")
        assert error["status"] == 40001
        assert "has no `user`, which is to be the user name here" in error["message"]
        assert (await refused(app, "same"))["status"] == 40001


async def test_an_email_address_and_a_taken_name(own_gateway: OwnGateway) -> None:
    check = MyAuthorizer(again=Identity("carol@example.com", subject="8"))
    gateway = own_gateway(authorizers={"mine": check})
    async with App(gateway) as app, app.socket("?service=mine&token=good-carol@example.com") as carol:
        await carol.expect("welcome", user="carol_example.com")
        error = await refused(app, "again")
        assert error["status"] == 40001
        assert error["message"].startswith("the user name `carol_example.com` is taken")


@pytest.mark.parametrize(
    ("prepared", "status"),
    [
        ({"odd": Identity("carol", subject=SURROGATE)}, 40001),
        ({"odd": Identity("carol", subject="x" * 1025)}, 40001),
        ({"odd": Unavailable("directory")}, 50300),
        ({"odd": ZeroDivisionError()}, 50000),
        ({"odd": "carol"}, 50000),
        ({}, 40001),
    ],
)
async def test_what_a_check_does_wrong(own_gateway: OwnGateway, prepared: dict[str, Any], status: int) -> None:
    gateway = own_gateway(authorizers={"mine": MyAuthorizer(**prepared)})
    async with App(gateway) as app:
        assert (await refused(app, "odd"))["status"] == status
        assert (await refused(app, ""))["status"] == 40001


async def test_a_check_that_hangs_is_given_up(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(authorizers={"mine": MyAuthorizer()}, outside_timeout_seconds=0.05)
    async with App(gateway) as app:
        error = await refused(app, "slow")
        assert (error["status"], "the service `mine` cannot be asked" in error["message"]) == (50300, True)


TRUSTED = {"issuer": "https://acme.example", "audience": "chat", "jwks_url": "https://acme.example/keys"}


@pytest.mark.parametrize("name", ["", "gateway", "Mine", "my check", "x" * 21, "mine\n", 7, "acme"])
def test_a_bad_or_taken_name_stops_the_start(tmp_path: Path, name: Any) -> None:
    settings = settings_for_tests(tmp_path, issuers={"acme": TRUSTED})
    with pytest.raises(StartError, match="authorizers: expected"):
        create_app(settings, authorizers={name: MyAuthorizer()})


@pytest.mark.parametrize("check", [None, MyAuthorizer, "mine", object()])
def test_what_checks_nothing_stops_the_start(tmp_path: Path, check: Any) -> None:
    with pytest.raises(TypeError, match="expected an object with `authorize`"):
        create_app(settings_for_tests(tmp_path), authorizers={"mine": check})


@pytest.mark.parametrize(
    "wrong",
    [
        *({"user": 7}, {"subject": 7}, {"scopes": "chat:read"}, {"scopes": {"two words"}}),
        *({"expires_at": float("nan")}, {"rooms": "team-*"}, {"rooms": {"**": ["join"]}}, {"rooms": {"a": "join"}}),
        *({"claims": {"since": object()}}, {"claims": {"n": 2**70}}),
    ],
)
def test_a_mistake_of_the_check_is_an_error_of_its_own(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Identity(**({"user": "carol"} | wrong))
