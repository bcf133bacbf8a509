"""Publishing from the gateway's own process, with a handler's checks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter, FastAPI, Request

import gateway as package
from gateway.app import create_app
from gateway.publishing import Publisher, publisher_of
from gateway.testing import settings_for_tests
from handlers.errors import Forbidden, NotFound, ValidationFailed
from schemas.base import Event
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.services import add_service

router = APIRouter()


class Sold(Event):
    """Something is gone."""

    type: ClassVar[str] = "shop.sold"
    item: str


@router.post("/sell/{item}")
async def sell(item: str, request: Request) -> int:
    """Publish from a route of the application's own."""
    return await publisher_of(request.app).to_all(Sold(item=item))


async def test_an_event_reaches_a_room_some_users_or_all(own_gateway: OwnGateway) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    [publisher] = publishers
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice, app.connect("bob") as bob:
        await gateway.run(publisher.to_room("lobby", Sold(item="a")))
        await alice.expect("shop.sold", item="a")
        await gateway.run(publisher.to_users(["bob", "bob"], Sold(item="b")))
        await gateway.run(publisher.to_users("bob", Sold(item="c")))
        assert [(await bob.expect("shop.sold"))["item"] for _ in range(2)] == ["b", "c"]
        assert await gateway.run(publisher.to_all(Sold(item="d"))) == 2
        for client in (alice, bob):
            await client.expect("shop.sold", item="d")
            await client.expect_nothing()


async def test_a_route_and_a_task_of_a_lifespan_publish(own_gateway: OwnGateway) -> None:
    due: list[asyncio.Event] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        due.append(asyncio.Event())

        async def announce() -> None:
            await due[0].wait()
            await publisher_of(app).to_all(Sold(item="by a task"))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(announce())
            yield
            due[0].set()

    gateway = own_gateway(lifespan=lifespan, extend=lambda app: app.include_router(router))
    async with App(gateway) as app, app.connect("alice") as alice:
        assert (await app.http.post("/sell/bread")).json() == 1
        await alice.expect("shop.sold", item="bread")
        gateway.loop.call_soon_threadsafe(due[0].set)
        await alice.expect("shop.sold", item="by a task")


@pytest.mark.parametrize("room", ["nowhere", "", "Lobby", "a\x00", "a\n", "~"])
async def test_a_room_must_exist(own_gateway: OwnGateway, room: str) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    with pytest.raises(NotFound, match="there is no room"):
        await gateway.run(publishers[0].to_room(room, Sold(item="a")))


@pytest.mark.parametrize("name", ["nobody", "", "a\x00c", "Alice"])
async def test_all_users_must_exist_or_none_gets_it(own_gateway: OwnGateway, name: str) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    async with App(gateway) as app, app.connect("alice") as alice:
        with pytest.raises(NotFound, match="there is no user"):
            await gateway.run(publishers[0].to_users(["alice", name], Sold(item="a")))
        await alice.expect_nothing()


async def test_what_is_no_event_or_too_long_a_one_is_refused(own_gateway: OwnGateway) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        for publish in (publishers[0].to_all, lambda event: publishers[0].to_room("lobby", event)):
            with pytest.raises(ValueError, match="expected a frame of at most"):
                await gateway.run(publish(Sold(item="x" * 1_000_000)))
            wrong: Any = {"type": "shop.sold"}
            with pytest.raises(TypeError, match="expected an `Event`"):
                await gateway.run(publish(wrong))
        await alice.expect_nothing()


async def test_wrong_use_is_told_in_plain_words(own_gateway: OwnGateway, tmp_path: Path) -> None:
    made = create_app(settings_for_tests(tmp_path / "never-started"))
    with pytest.raises(RuntimeError, match="the gateway does not run"):
        await publisher_of(made).to_all(Sold(item="a"))
    with pytest.raises(TypeError, match="expected a gateway"):
        publisher_of(FastAPI())
    publishers: list[Publisher] = []
    own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    with pytest.raises(RuntimeError, match="expected the event loop that the gateway runs in"):
        await publishers[0].to_all(Sold(item="a"))  # this test has a loop of its own


async def test_a_publisher_stops_with_its_gateway(tmp_path: Path) -> None:
    app = create_app(settings_for_tests(tmp_path))
    publisher = publisher_of(app)
    async with app.router.lifespan_context(app):
        assert await publisher.to_all(Sold(item="a")) == 0
    with pytest.raises(RuntimeError, match="the gateway does not run"):
        await publisher.to_all(Sold(item="a"))


def test_the_package_has_what_an_application_needs() -> None:
    assert package.create_app is create_app
    assert package.publisher_of is publisher_of
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(package, "nothing")  # noqa: B009 - mypy knows that it is not there


async def test_an_application_speaks_as_a_service_and_its_message_grows(own_gateway: OwnGateway) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    assistant = publishers[0].sender("assistant")
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        message = await gateway.run(assistant.send("lobby", text="Once", client_id="c1"))
        heard = await alice.expect("chat.message", id=message.id, sender="service:assistant", text="Once")
        assert (message.client_id, "client_id" in heard) == ("c1", False)
        reply = await gateway.run(assistant.append("lobby", message.id, " upon", at=4))
        assert (reply.length, reply.done) == (9, False)
        await alice.expect("chat.appended", id=message.id, at=4, text=" upon")
        await gateway.run(assistant.append("lobby", message.id, "", done=True))
        await alice.expect("chat.appended", id=message.id, at=9, text="", done=True)
        assert (await gateway.run(assistant.edit("lobby", message.id, text="The end"))).done
        await alice.expect("chat.edited", id=message.id, text="The end", done=True)
        await gateway.run(assistant.delete("lobby", message.id))
        await alice.expect("chat.deleted", id=message.id)
        await alice.expect_nothing()


async def test_a_sender_has_the_name_of_a_service_and_no_other(own_gateway: OwnGateway) -> None:
    publishers: list[Publisher] = []
    gateway = own_gateway(extend=lambda app: publishers.append(publisher_of(app)))
    await add_service(gateway, "alarm", hook_of="lobby")
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        for name in ("", "Assistant", "service:a", "a\n", "a" * 33):
            with pytest.raises(ValueError, match="expected 1 to 32 of"):
                await gateway.run(publishers[0].sender(name).send("lobby", text="hello"))
        with pytest.raises(Forbidden, match="an incoming webhook has this name"):
            await gateway.run(publishers[0].sender("alarm").send("lobby", text="hello"))
        with pytest.raises(NotFound):
            await gateway.run(publishers[0].sender("assistant").send("nowhere", text="hello"))
        with pytest.raises(ValidationFailed):
            await gateway.run(publishers[0].sender("assistant").append("lobby", "e.1", "a\0"))
        await alice.expect_nothing()
