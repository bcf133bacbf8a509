"""`gateway announce`: all connections hear of it, or those in a room."""

import asyncio

import pytest

from tests.gateway.operating.conftest import Operator
from tests.support.client import App

pytestmark = pytest.mark.server


async def test_all_connections_of_all_nodes_hear_an_announcement(apps: list[App], operator: Operator) -> None:
    here, there = apps
    async with here.connect("rosa") as one, there.connect("sven") as two:
        text = "Back in 5 minutes\n– grüße 🚧"
        assert await operator.succeed("announce", text) == "2 connections got it\n"
        for client in (one, two):
            data = await client.expect("announcement", sender="gateway:operator", text=text)
            assert data["sent_at"].startswith("20")
            await client.expect_nothing()
    assert [line["reached"] for line in await operator.audited("announced")] == [2]


async def test_an_announcement_for_a_room_is_heard_there_only(apps: list[App], operator: Operator) -> None:
    here, there = apps
    async with (
        here.in_room("tina", "works") as one,
        there.in_room("ulli", "works") as two,
        there.in_room("vera", "elsewhere") as other,
    ):
        await one.heard()
        assert await operator.succeed("announce", "hello", "--room", "works") == "2 connections got it in works\n"
        await one.expect("announcement", text="hello")
        await two.expect("announcement", text="hello")
        await other.expect_nothing()


async def test_concurrent_announcements_come_once_each(apps: list[App], operator: Operator) -> None:
    async with apps[1].connect("walt") as client:
        texts = {f"number {number}" for number in range(6)}
        await asyncio.gather(*(operator.succeed("announce", text) for text in texts))
        heard = [frame["data"]["text"] for frame in await client.heard()]
        assert sorted(heard) == sorted(texts)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["hi", "--room", "no.such.room"], "there is no room `no.such.room`"),
        (["hi", "--room", "A room"], "--room: expected the name of a room"),
        ([""], "TEXT: expected 1 to 4000 characters"),
        (["x" * 4001], "TEXT: expected 1 to 4000 characters"),
    ],
)
async def test_a_wrong_announcement_reaches_none(
    apps: list[App], operator: Operator, arguments: list[str], problem: str
) -> None:
    async with apps[0].connect("xena") as client:
        assert (await operator.run("announce", *arguments)).problem.startswith(problem)
        await client.expect_nothing()
