"""Who is there."""

from datetime import datetime
from typing import Any

import pytest

from tests.client import App


async def test_users_are_online_while_they_are_connected(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann:
        async with app.connect(bob):
            reply = await ann.ask("presence.get", users=[bob, alice])
            assert reply["users"] == [{"user": bob, "state": "online"}, {"user": alice, "state": "online"}]
        async with app.connect(bob):  # again, so that the first one is surely counted out
            pass


async def test_users_who_left_are_offline_and_were_last_seen_then(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann:
        async with app.connect(bob) as ben:
            left_after = ben.welcome["server_time"]
            await ben.ask("bye")
            await ben.expect("bye")
            await ben.expect_close(1000, "bye")
        [seen] = (await ann.ask("presence.get", users=[bob]))["users"]
        assert (seen["user"], seen["state"]) == (bob, "offline")
        if "last_seen" in seen:  # written a moment after the close
            assert datetime.fromisoformat(seen["last_seen"]) >= datetime.fromisoformat(left_after)


async def test_a_user_that_does_not_exist_is_offline_and_was_never_seen(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        assert (await client.ask("presence.get", users=["nobody-at-all"]))["users"] == [
            {"user": "nobody-at-all", "state": "offline"}
        ]


@pytest.mark.parametrize(
    "users",
    [[], ["x" * 33], ["Al"], "alice", None, [1], ["user"] * 101],
    ids=["none", "long", "short", "text", "null", "number", "101"],
)
async def test_a_wrong_list_of_users_is_refused(app: App, alice: str, users: Any) -> None:
    async with app.connect(alice) as client:
        assert (await client.refused("presence.get", users=users))["status"] == 42200
