"""The service of `[authorize]` in the routes file, as connections meet it, on both stores."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import OwnGateway
from tests.gateway.chat.verbs.test_rights import connect
from tests.support.client import App
from tests.support.upstreams import SECRET, Behaviour, Conversation, Upstream, hanging, running_upstream

Answer = dict[str, Any]
Decide = Callable[[str, str, str], object]


def deciding(decide: Decide) -> Behaviour:
    """Return the behaviour of a service that answers each question as a function says."""

    async def behave(client: Conversation) -> None:
        while True:
            asked = (await client.request()).json
            await client.answer(decide(asked["user"], asked["action"], asked["room"]))

    return behave


@asynccontextmanager
async def asking(
    own_gateway: OwnGateway, folder: Path, behave: Behaviour, lines: str = "", **settings: Any
) -> AsyncIterator[tuple[App, Upstream]]:
    """Run a service, and a gateway that asks it."""
    async with running_upstream(behave) as upstream:
        routes = folder / "routes.toml"
        routes.write_text(f'[authorize]\nurl = "{upstream.url}"\nsecret = "{SECRET}"\ntimeout_seconds = 10\n{lines}')
        async with App(own_gateway(routes=routes, **settings)) as app:
            yield app, upstream


def asked(upstream: Upstream) -> list[tuple[str, str, str]]:
    """Return the user, the action and the room of each question, and forget them."""
    found = [(each.json["user"], each.json["action"], each.json["room"]) for each in upstream.requests]
    upstream.requests.clear()
    return found


async def test_each_verb_asks_for_its_right(own_gateway: OwnGateway, tmp_path: Path) -> None:
    allow = {"join", "send", "create"}
    behave = deciding(lambda user, action, room: {"allow": user == "alice" or action in allow})
    async with asking(own_gateway, tmp_path, behave) as (app, upstream), app.connect("alice") as alice:
        await alice.ask("room.create", room="lobby")
        assert asked(upstream) == [("alice", "create", "lobby")]
        await alice.ask("room.join", room="lobby")
        assert asked(upstream) == [("alice", "join", "lobby")]
        message = await alice.say("lobby", "hello")
        for type, data, right in [
            ("chat.edit", {"message_id": message["id"], "text": "hi"}, "send"),
            ("chat.typing", {}, "send"),
            ("chat.history", {}, "join"),
            ("chat.read", {"offset": 1}, "join"),
            ("room.members", {}, "join"),
            ("room.update", {"title": "Lobby"}, "join"),
            ("chat.delete", {"message_id": message["id"]}, "send"),
        ]:
            upstream.requests.clear()
            number = await alice.start(type, room="lobby", **data)
            assert (await alice.until(id=number))["type"] == "reply", type
            assert asked(upstream) == [("alice", right, "lobby")], type
        await alice.heard()
        async with app.connect("bob") as bob:
            await bob.ask("room.join", room="lobby")
            await alice.until(type="room.joined")
            allow.remove("send")
            refused = await bob.refused("chat.send", room="lobby", text="no")
            assert (refused["status"], refused["message"]) == (
                40300,
                "you do not have the right `send` in the room `lobby`",
            )
            allow.remove("join")
            assert (await bob.refused("chat.history", room="lobby"))["status"] == 40300
            asked(upstream)
            await bob.ask("room.list")
            await bob.ask("room.leave", room="lobby")  # each user may always leave
            assert asked(upstream) == []


async def test_a_join_that_makes_a_room_asks_for_both_rights(own_gateway: OwnGateway, tmp_path: Path) -> None:
    behave = deciding(lambda _user, action, room: {"allow": action == "join" or room == "new-1"})
    async with asking(own_gateway, tmp_path, behave) as (app, upstream), app.connect("alice") as alice:
        await alice.ask("room.join", room="new-1")
        assert asked(upstream) == [("alice", "join", "new-1"), ("alice", "create", "new-1")]
        assert (await alice.refused("room.join", room="new-2"))["status"] == 40400
        assert asked(upstream) == [("alice", "join", "new-2"), ("alice", "create", "new-2")]
        async with app.connect("bob") as bob:
            await bob.ask("room.join", room="new-1")
            assert asked(upstream) == [("bob", "join", "new-1")]  # it exists


async def test_the_service_names_the_role_of_a_new_member(own_gateway: OwnGateway, tmp_path: Path) -> None:
    roles = {"bob": "moderator", "carol": "owner", "dave": "moderator"}
    behave = deciding(lambda user, _action, _room: {"allow": True, "role": roles.get(user, "member")})
    async with asking(own_gateway, tmp_path, behave) as (app, _), app.connect("alice") as alice:
        await alice.ask("room.join", room="lobby")  # it makes the room, which needs an owner
        async with app.connect("bob") as bob, app.connect("carol") as carol:
            await bob.ask("room.join", room="lobby")
            await carol.ask("room.resume", rooms=[{"room": "lobby"}])
            status = await app.ask("POST", "/call/room.join", await app.token("dave"), json={"room": "lobby"})
            assert status.status_code == 200
            assert roles_in(await alice_members(alice)) == {
                "alice": "owner",
                "bob": "moderator",
                "carol": "owner",
                "dave": "moderator",
            }
            roles["bob"] = "owner"
            await bob.heard()
            await bob.ask("room.join", room="lobby")  # a member keeps its role
            assert roles_in(await alice_members(alice))["bob"] == "moderator"


async def test_without_an_answer_only_that_message_fails_and_a_resumed_room_with_it(
    own_gateway: OwnGateway, tmp_path: Path
) -> None:
    lines = 'rooms = ["team-*"]\n'
    async with running_upstream(hanging) as upstream:
        routes = tmp_path / "routes.toml"
        routes.write_text(f'[authorize]\nurl = "{upstream.url}"\nsecret = "{SECRET}"\ntimeout_seconds = 0.2\n{lines}')
        async with App(own_gateway(routes=routes)) as app, app.connect("alice") as alice:
            refused = await alice.refused("room.join", room="team-red")
            assert (refused["status"], refused["retryable"]) == (50300, True)
            await alice.ask("room.join", room="lobby")
            await alice.say("lobby", "the connection lives")
            resumed = await alice.ask("room.resume", rooms=[{"room": "lobby"}, {"room": "team-red"}])
            assert [part.get("error", {}).get("status") for part in resumed["rooms"]] == [None, 50300]
            assert (await alice.refused("room.create", room="team-red"))["status"] == 50300
            assert (await alice.refused("chat.send", room="team-red", text="no"))["status"] == 50300
            assert (await alice.refused("chat.history", room="team-red"))["status"] == 50300


async def test_the_rights_of_the_token_come_first_and_what_they_refuse_is_not_asked(
    own_gateway: OwnGateway, tmp_path: Path
) -> None:
    behave = deciding(lambda _user, _action, room: {"allow": room != "team-blue", "for_seconds": 60})
    lines = 'claims = ["rooms"]\n'
    async with asking(own_gateway, tmp_path, behave, lines) as (app, upstream):
        async with app.connect("bob") as bob:
            for room in ("team-red", "lobby"):
                await bob.ask("room.join", room=room)
        asked(upstream)
        rooms = {"team-*": ["join"]}
        async with connect(app, "alice", rooms) as alice:
            assert (await alice.refused("room.join", room="lobby"))["status"] == 40300
            assert (await alice.refused("chat.send", room="team-red", text="no"))["status"] == 40300
            assert asked(upstream) == []
            for _ in range(3):
                await alice.ask("room.join", room="team-red")
            assert upstream.requests[0].json["claims"] == {"rooms": rooms}
            assert asked(upstream) == [("alice", "join", "team-red")]  # remembered
            resumed = await alice.ask("room.resume", rooms=[{"room": f"team-{each}"} for each in ("red", "blue")])
            assert [part.get("error", {}).get("status") for part in resumed["rooms"]] == [None, 40300]


async def test_a_direct_room_is_asked_about_by_its_name(own_gateway: OwnGateway, tmp_path: Path) -> None:
    allow = {"join"}
    behave = deciding(lambda _user, action, _room: {"allow": action in allow})
    async with asking(own_gateway, tmp_path, behave) as (app, upstream), app.connect("alice") as alice:
        await app.register("bob")
        assert (await alice.refused("direct.open", user="bob"))["status"] == 40300
        joined, created = asked(upstream)
        assert joined[1] == "join"
        assert created == ("alice", "create", joined[2])
        assert joined[2].startswith("dm-")
        allow.add("create")
        assert (await alice.ask("direct.open", user="bob"))["room"]["name"] == joined[2]


async def alice_members(alice: Any) -> list[Answer]:
    await alice.heard()
    members: list[Answer] = (await alice.ask("room.members", room="lobby"))["members"]
    return members


def roles_in(members: list[Answer]) -> dict[str, str]:
    return {member["user"]: member["role"] for member in members}
