"""`auth` and `auth.refresh`: a connection outlives its token."""

from datetime import datetime
from functools import partial
from typing import Any

import pytest

from gateway.store import users
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App

MINUTE = 60


async def test_a_connection_goes_on_with_a_newer_token_of_its_user(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        gateway.clock.ahead += 10 * MINUTE
        reply = await client.ask("auth.refresh", token=await app.token("alice"))
        assert reply["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
        assert 10 * MINUTE <= seconds_between(client.welcome, reply) < 11 * MINUTE  # what the test itself took, too
        gateway.clock.ahead += 10 * MINUTE  # the first token would have ended by now, grace and all
        await client.say("lobby", "Still here.")
        await client.expect_nothing()


def seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> int:
    first, second = (datetime.fromisoformat(frame["token_expires_at"]) for frame in (earlier, later))
    return round((second - first).total_seconds())


async def test_what_a_connection_may_do_is_what_the_newest_token_allows(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        less = (await app.log_in(alice, scope="chat:read")).json()["access_token"]
        assert (await client.ask("auth.refresh", token=less))["scopes"] == ["chat:read"]
        error = await client.refused("chat.send", room=room, text="hi")
        assert (error["status"], "`chat:write`" in error["message"]) == (40300, True)
        await client.ask("auth.refresh", token=await app.token(alice))
        await client.say(room, "hi")


async def test_another_users_token_is_refused_and_changes_nothing(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        await app.register(bob)
        other = (await app.log_in(bob, scope="chat:read")).json()["access_token"]
        error = await client.refused("auth.refresh", token=other)
        assert (error["status"], error["name"]) == (40300, "forbidden")
        assert "another user" in error["message"]
        await client.say(room, "Still me, and still allowed to.")


async def test_a_bad_token_is_refused_and_changes_nothing(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice") as client:
        old = await app.token("alice")
        gateway.clock.ahead += 15 * MINUTE + 5
        ticket = (
            await app.http.post("/ws/ticket", headers={"Authorization": f"Bearer {await app.token('alice')}"})
        ).json()["ticket"]
        for token, status in (("nonsense", 40001), (old, 40101), (ticket, 40001), ("", 42200), ("x" * 4097, 42200)):
            assert (await client.refused("auth.refresh", token=token))["status"] == status
        await client.expect_nothing()
        await client.ask("auth.refresh", token=await app.token("alice"))


async def test_a_disabled_user_cannot_refresh(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()

    async with App(gateway) as app, app.connect("alice") as client:
        token = await app.token("alice")
        # So long ago that it is not what the gateway looks for, and closes connections of.
        await gateway.run(gateway.state.database.transact(partial(users.set_disabled, name="alice", disabled_at=1)))
        assert (await client.refused("auth.refresh", token=token))["status"] == 40102


async def test_a_second_log_in_on_a_connection_is_refused_in_words(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused("auth", token=await app.token(alice))
        assert (error["status"], error["name"]) == (40900, "conflict")
        assert "`auth.refresh`" in error["message"]
        await client.expect_nothing()


@pytest.mark.parametrize("type", ["auth", "auth.refresh"])
async def test_a_token_is_not_sent_back_in_an_error(app: App, alice: str, type: str) -> None:
    token = await app.token(alice)
    async with app.connect(alice) as client:
        for data in ({"token": [token]}, {"token": token, "tokn": token}, {token: token}):
            assert token not in str(await client.refused(type, **data))


async def test_messages_in_the_grace_are_handled_and_none_after_it(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice") as client, app.connect("alice") as other:
        gateway.clock.ahead += 15 * MINUTE + 20
        await client.ask("ping")
        await other.ask("auth.refresh", token=await app.token("alice"))
        gateway.clock.ahead += 6
        await client.send({"type": "ping", "id": "late"})
        await client.expect("bye", code=4410, reason="token_expired", reconnect="new_credential")
        await client.expect_close(4410, "token_expired")
        await other.expect_nothing()


async def test_a_refresh_after_the_grace_comes_too_late(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice") as client:
        gateway.clock.ahead += 15 * MINUTE + 26
        await client.send({"type": "auth.refresh", "id": 1, "data": {"token": await app.token("alice")}})
        await client.expect("bye", code=4410)
        await client.expect_close(4410, "token_expired")


async def test_after_a_refresh_the_end_of_the_first_token_does_nothing(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.chat.session.EXPIRY_GRACE_SECONDS", 0)
    async with App(own_gateway()) as patient, App(own_gateway(token_minutes=3 / MINUTE)) as app:
        token = await patient.token("alice")
        async with app.connect("alice") as client:
            await client.expect("token.expiring")
            await client.ask("auth.refresh", token=token)
            async with app.connect("alice") as forgetful:  # a token that ends after the client's first one
                await forgetful.expect("token.expiring")
                await forgetful.expect("bye", code=4410)
                await forgetful.expect_close(4410, "token_expired")
            await client.expect_nothing()


async def test_a_token_that_may_not_read_hears_no_room_any_more(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        answer = await app.http.post("/token", data={"username": alice, "password": PASSWORD, "scope": "chat:write"})
        await ann.ask("auth.refresh", token=answer.json()["access_token"])
        await ben.say(room, "not for her")
        await ann.expect_nothing()
