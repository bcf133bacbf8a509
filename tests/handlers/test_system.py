"""`ping`, `echo`, `bye` and `announce`."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from gateway.store import users
from gateway.testing import Gateway
from schemas.names import DEFAULT_SCOPES
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App, Frame

ANYTHING: dict[str, Any] = {
    "an object": {"a": {"b": [1, 2.5, None, True]}},
    "an array": [1, "two", None],
    "a string": 'héllo\n\t"\\ 👋',
    "zero": 0,
    "false": False,
    "an empty string": "",
    "an empty array": [],
}


async def test_ping_tells_the_time(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        time = datetime.fromisoformat((await client.ask("ping"))["server_time"])
        assert abs((datetime.now(UTC) - time).total_seconds()) < 5


@pytest.mark.parametrize("data", ANYTHING.values(), ids=ANYTHING)
async def test_echo_sends_back_what_came(app: App, alice: str, data: Any) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "echo", "id": 1, "data": data})
        assert await client.expect("reply", id=1) == data


async def test_announce_needs_the_scope_admin(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused("announce", text="Hear me!")
        assert (error["status"], error["name"]) == (40300, "forbidden")
        assert "`admin`" in error["message"]


async def add_admin(gateway: Gateway, name: str) -> None:
    """Add an administrator, as `gateway users add --scope admin` does."""
    hashed = await gateway.state.passwords.hash(PASSWORD)
    scopes = {*DEFAULT_SCOPES, "admin"}
    await gateway.state.database.transact(partial(users.add, name=name, password_hash=hashed, scopes=scopes, now=0))


async def test_an_announcement_reaches_every_connection(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        await gateway.run(add_admin(gateway, "alice"))
        async with app.connect("alice") as ann, app.connect("bob") as ben, app.in_room("carol", "lobby") as cat:
            assert (await ann.ask("announce", text="We restart at noon.")) == {"reached": 3}
            for client in (ann, ben, cat):
                await client.expect("announcement", sender="alice", text="We restart at noon.")
                await client.expect_nothing()
            assert (await ben.refused("announce", text="Me too!"))["status"] == 40300


async def test_an_announcement_is_a_text_or_a_body_and_not_both(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        await gateway.run(add_admin(gateway, "alice"))
        async with app.connect("alice") as ann:
            data: Frame
            for data in ({}, {"text": "a", "body": 1}, {"text": ""}, {"text": "x" * 4001}, {"text": 1}):
                assert (await ann.refused("announce", **data))["status"] == 42200
            await ann.ask("announce", body={"restart": "noon"})
            await ann.expect("announcement", body={"restart": "noon"})
